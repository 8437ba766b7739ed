"""`StewrdTool` and `StewrdToolkit`: a project's capabilities as tools of any model's agent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import ArgsSchema, BaseTool, BaseToolkit, ToolException
from pydantic import Field, PrivateAttr, ValidationError
from typing_extensions import Self, TypedDict, Unpack, override

from ..api.credentials import ApiKey
from ..errors import ConfigurationError, InvalidInputError, StewrdError, StoreError
from ..runtime import Options, Runtime, checked_who
from ..runtime import metadata as facts_of
from ..sessions.call import Call, Outcome
from ..types import CAPABILITIES
from .capabilities import Question, TextFile, description_of, name_of
from .history import StewrdChatMessageHistory
from .messages import from_langchain, to_message
from .progress import Progress

if TYPE_CHECKING:
    import uuid

    from pydantic.v1 import ValidationError as ValidationErrorV1

    from ..api.credentials import KeySource
    from ..stores import Store

logger = logging.getLogger("stewrd_integrations")


class ToolOptions(TypedDict, total=False):
    """Options that tools and toolkits share with `ChatStewrd`, which says what each means."""

    api_key: KeySource
    base_url: str | None
    tenant: str | int | uuid.UUID | None
    store: Store | str | None
    on_store_error: Literal["stateless", "error"]
    max_active_sessions: int
    max_credits: float | None
    replay_budget: int
    retry_on_compute_error: bool
    timeout: float | None
    max_retries: int
    http_client: Any
    http_async_client: Any
    default_headers: Mapping[str, str] | None


class StewrdToolError(ToolException):
    """A call of a tool that failed; the text is for the agent that made it.

    Attributes:
        error: What went wrong, with its code, whether it was charged and whether a retry helps.
    """

    def __init__(self, tool: str, error: StewrdError) -> None:
        self.error = error
        again = error.retryable and error.charged == "no"
        code = f"code: {error.code}; " if error.code else ""
        facts = f"{code}charged: {error.charged}; retryable: {'yes' if again else 'no'}"
        known = (
            error.advice if error.charged == "no" else "The work may have been done all the same."
        )
        to_do = "You may call it once more." if again else "Don't repeat the call: tell the user."
        super().__init__(f"{tool} failed: {error.message} {known} ({facts}) {to_do}")


class StewrdTool(BaseTool):
    """One capability of a Stewrd project, or several at once, as a tool.

    Setup:
        Install the package and set the API key of your project.

        ```bash
        pip install "stewrd-integrations[langchain]"
        export STEWRD_API_KEY="sk-stw_..."
        ```

    Key init args:
        capabilities: What the tool may use. An agent that calls it can't change that.
        conversation_id: Name of a conversation of the tool's own. Without one, each call stands
            alone and takes no session.
        max_credits: What the tool may spend; the call that could pass it is refused.
        api_key, base_url, tenant, store, timeout, max_retries, ...: As `ChatStewrd` has them.

    Instantiate:
        ```python
        from stewrd_integrations.langchain import StewrdTool

        research = StewrdTool(capabilities=["research"])
        ```

    Invoke:
        ```python
        research.invoke({"message": "Who maintains SQLite?"})
        ```

        It takes a ``message`` and, if need be, ``files``: a list of ``name`` and ``content``.
        Called with a tool call, it gives a `ToolMessage`, whose artifact is a dict of plain
        values: `answer`, `files` (`name`, and `content` or a `url` that dies after 24 hours),
        `usage` and the other facts that `ChatStewrd` tells about an answer.

    In an agent of any model:
        ```python
        from langchain.agents import create_agent

        agent = create_agent(model, [StewrdTool(capabilities=["research"])])
        ```

    Progress:
        A capability that begins or ends its work is a custom event ``stewrd_progress`` of the
        tool's run, and of the graph's stream in the mode "custom": a dict of `type`
        ("tool_start" or "tool_end"), `tool`, `message` and `by`, the tool's name.

    Conversations:
        With `conversation_id` the tool remembers its calls. Their transcript is kept in the
        store, so it outlives sessions. Give each conversation of your application its own name.

    Failures:
        They are shown to the agent, once, with the code, whether it was charged, and whether to
        call again; the `ToolMessage` has the status "error" (called without a tool call, the tool
        gives back the text alone, as all tools do). With `handle_tool_error=False`
        they are raised as a `ToolException` whose `error` is a `StewrdError`.

    Raises:
        ConfigurationError: An option is wrong or unknown.
    """

    name: str = ""
    description: str = ""
    args_schema: ArgsSchema | None = Question
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    handle_validation_error: Any = None
    capabilities: tuple[str, ...] = Field(
        frozen=True, description="What the agent behind the tool may use."
    )
    conversation_id: str | None = Field(
        default=None, frozen=True, description="Name of the tool's own conversation."
    )

    _runtime: Runtime = PrivateAttr()
    _history: StewrdChatMessageHistory | None = PrivateAttr(default=None)

    def __init__(
        self,
        capabilities: Sequence[str],
        *,
        conversation_id: str | int | uuid.UUID | None = None,
        name: str | None = None,
        description: str | None = None,
        handle_tool_error: bool | str | Callable[[ToolException], Any] = True,
        return_direct: bool = False,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        # From here on, no frame holds the key in a form that shows it.
        options["api_key"] = ApiKey(options.pop("api_key", None))
        who = _checked(capabilities, conversation_id, options)
        own = who["capabilities"]
        super().__init__(
            name=name or name_of(own),
            description=description or description_of(own, remembers=who["name"] is not None),
            capabilities=own,
            conversation_id=who["name"],
            handle_tool_error=handle_tool_error,
            handle_validation_error=_told,
            return_direct=return_direct,
            tags=tags,
            metadata=metadata,
        )
        named = {"conversation_id": who["name"]}
        self._runtime = Runtime(Options(**{**options, **named}))
        if who["name"] is not None:
            self._history = StewrdChatMessageHistory(
                who["name"],
                tenant=options.get("tenant"),
                store=self._runtime.store,
                api_key=options["api_key"],
                base_url=options.get("base_url"),
            )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()  # clients and stores can't be copied; both tools use them

    # -- calls -------------------------------------------------------------------------

    @override
    def _run(
        self,
        message: str,
        files: Sequence[TextFile] = (),
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        try:
            outcome = self._answer(_question(message, files), Progress(self.name, run_manager))
        except StewrdError as error:
            raise StewrdToolError(self.name, error) from error
        return _content(outcome), _artifact(outcome)

    @override
    async def _arun(
        self,
        message: str,
        files: Sequence[TextFile] = (),
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        question = _question(message, files)
        try:
            outcome = await self._aanswer(question, Progress(self.name, run_manager))
        except StewrdError as error:
            raise StewrdToolError(self.name, error) from error
        return _content(outcome), _artifact(outcome)

    def _answer(self, question: HumanMessage, progress: Progress) -> Outcome:
        before = self._history.messages if self._history else []
        call = self._call([*before, question], stream=progress.wanted)
        with closing(self._runtime.stream(call)) as items:
            for item in items:
                progress.tell(item)
        assert isinstance(item, Outcome)  # it comes last
        if self._history:
            with _paid_for():
                self._history.add_messages([question, to_message(item)])
        return item

    async def _aanswer(self, question: HumanMessage, progress: Progress) -> Outcome:
        before = await self._history.aget_messages() if self._history else []
        call = self._call([*before, question], stream=progress.wanted)
        async with aclosing(self._runtime.astream(call)) as items:
            async for item in items:
                await progress.atell(item)
        assert isinstance(item, Outcome)  # it comes last
        if self._history:
            with _paid_for():
                await self._history.aadd_messages([question, to_message(item)])
        return item

    def _call(self, messages: Sequence[BaseMessage], *, stream: bool) -> Call:
        # A plain answer tells more of its cost, so it is streamed only where somebody listens.
        shown = from_langchain(messages)
        own = {"capabilities": self.capabilities}
        return self._runtime.call(shown, own, one_shot=self._history is None, stream=stream)

    # -- connections -------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        self._runtime.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        await self._runtime.aclose()


class StewrdToolkit(BaseToolkit):
    """A tool for each capability of a Stewrd project.

    Instantiate:
        ```python
        from stewrd_integrations.langchain import StewrdToolkit

        toolkit = StewrdToolkit(capabilities=["research", "documents"])
        agent = create_agent(model, toolkit.get_tools())
        ```

    Key init args:
        capabilities: One tool is made for each; all six by default. Name those that the project
            has enabled: the others can only fail.
        conversation_id: Name of one conversation of all the tools: what one of them found, the
            next one knows, on one session.
        max_credits: What all the tools together may spend.
        api_key, base_url, tenant, store, timeout, max_retries, ...: As `ChatStewrd` has them.

    Raises:
        ConfigurationError: An option is wrong or unknown.
    """

    _tools: tuple[StewrdTool, ...] = PrivateAttr()

    def __init__(
        self,
        capabilities: Sequence[str] = CAPABILITIES,
        *,
        conversation_id: str | int | uuid.UUID | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        options["api_key"] = ApiKey(options.pop("api_key", None))
        own = _checked(capabilities, conversation_id, options)["capabilities"]
        tools = [StewrdTool([one], conversation_id=conversation_id, **options) for one in own]
        super().__init__()
        self._tools = tuple(tools)
        for tool in tools[1:]:  # one limit on credits for all
            tool._runtime = tools[0]._runtime  # noqa: SLF001 - they are of this very module

    @override
    def get_tools(self) -> list[BaseTool]:
        """The tools, in the order of the capabilities."""
        return list(self._tools)

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        for tool in self._tools:
            tool.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        for tool in self._tools:
            await tool.aclose()


def _checked(capabilities: Sequence[str], conversation_id: object, options: Any) -> dict[str, Any]:
    unknown = next((name for name in options if name not in ToolOptions.__annotations__), None)
    if unknown is not None:
        options.clear()  # the key may be among them, under another name
        raise ConfigurationError(
            f"Tools have no option {unknown!r}.",
            advice=f"They have {', '.join(sorted(ToolOptions.__annotations__))}.",
        )
    try:
        who = checked_who({"capabilities": capabilities, "conversation_id": conversation_id})
    except InvalidInputError as wrong:
        raise ConfigurationError(wrong.message, advice=wrong.advice) from None
    if who["capabilities"] is None:
        raise ConfigurationError(
            "A tool needs its capabilities.",
            advice=f"Pass a list of some of {', '.join(CAPABILITIES)}.",
        )
    return {**who, "capabilities": tuple(dict.fromkeys(who["capabilities"]))}


def _told(error: ValidationError | ValidationErrorV1) -> str:
    """Wrong arguments, as the agent is told of them."""
    found = [
        f"{'.'.join(map(str, detail['loc'])) or 'arguments'}: {detail['msg']}."
        for detail in error.errors()
    ]
    return f"The arguments are wrong, and nothing was sent. {' '.join(found)}"


def _question(message: str, files: Sequence[TextFile]) -> HumanMessage:
    if not files:
        return HumanMessage(message)
    blocks = [
        {"type": "text-plain", "mime_type": "text/plain", "title": file.name, "text": file.content}
        for file in files
    ]
    return HumanMessage([{"type": "text", "text": message}, *blocks])


def _content(outcome: Outcome) -> str:
    """What the agent reads: the answer, and which files came with it."""
    files = [
        f"{file.name} ({'to be downloaded' if file.content is None else 'text'})"
        for file in outcome.reply.files
    ]
    listed = [f"Files that came with it: {', '.join(files)}."] if files else []
    text = outcome.reply.message.strip()
    return "\n\n".join([*([text] if text else []), *listed]) or "The answer is empty."


def _artifact(outcome: Outcome) -> dict[str, Any]:
    """What the application gets besides, as plain JSON values."""
    facts = facts_of(outcome)["stewrd"]
    told = {name: value for name, value in facts.items() if name != "mark"}
    return {"answer": outcome.reply.message, **told}


@contextmanager
def _paid_for() -> Generator[None, None, None]:
    """An answer is worth more than the news of a store that failed to keep it."""
    try:
        yield
    except StoreError as error:
        logger.warning("Stewrd: an answer was not kept in its conversation: %s", error)
