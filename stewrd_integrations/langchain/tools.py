"""`StewrdTool` and `StewrdToolkit`: a project's capabilities as tools of any model's agent."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import HumanMessage
from langchain_core.tools import ArgsSchema, BaseTool, BaseToolkit, ToolException
from pydantic import Field, PrivateAttr, ValidationError
from typing_extensions import Self, Unpack, override

from ..api.credentials import ApiKey
from ..api.pickling import portable, restored
from ..asking import Asker, ToolOptions, artifact, checked, content, failure, user_message
from ..capabilities import Question, TextFile, description_of, name_of, wrong_arguments
from ..errors import StewrdError
from ..options import Options
from ..runtime import Runtime
from ..sessions.call import Outcome
from ..types import CAPABILITIES, Message
from .credits import ToolRun, tell_of_answer, tell_of_failure
from .history import StewrdChatMessageHistory
from .messages import from_langchain, to_message
from .progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.v1 import ValidationError as ValidationErrorV1


class StewrdToolError(ToolException):
    """A call of a tool that failed; the text is for the agent that made it.

    Attributes:
        error: What went wrong, with its code, whether it was charged and whether a retry helps.
    """

    def __init__(self, tool: str, error: StewrdError) -> None:
        self.error = error
        super().__init__(failure(tool, error))


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

    _source: _Source = PrivateAttr()

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
        own, conversation = checked(capabilities, conversation_id, options)
        super().__init__(
            name=name or name_of(own),
            description=description or description_of(own, remembers=conversation is not None),
            capabilities=own,
            conversation_id=conversation,
            handle_tool_error=handle_tool_error,
            handle_validation_error=_corrected,
            return_direct=return_direct,
            tags=tags,
            metadata=metadata,
        )
        self._source = _Source(conversation, options)

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
        asked = user_message(message, files)
        try:
            outcome = self._source.asker.ask(
                asked, self.capabilities, Progress(self.name, run_manager)
            )
        except BaseException as error:
            tell_of_failure(run_manager, error)
            if isinstance(error, StewrdError):
                raise StewrdToolError(self.name, error) from error
            raise
        return _told(outcome, run_manager)

    @override
    async def _arun(
        self,
        message: str,
        files: Sequence[TextFile] = (),
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> tuple[str, dict[str, Any]]:
        asked = user_message(message, files)
        listener = Progress(self.name, run_manager)
        try:
            outcome = await self._source.asker.aask(asked, self.capabilities, listener)
        except BaseException as error:
            tell_of_failure(run_manager, error)
            if isinstance(error, StewrdError):
                raise StewrdToolError(self.name, error) from error
            raise
        return _told(outcome, run_manager)

    # -- connections -------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        self._source.asker.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        await self._source.asker.aclose()


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
        own, _ = checked(capabilities, conversation_id, options)
        tools = [StewrdTool([one], conversation_id=conversation_id, **options) for one in own]
        super().__init__()
        self._tools = tuple(tools)
        for tool in tools[1:]:  # one limit on credits for all
            tool._source = tools[0]._source  # noqa: SLF001 - they are of this very module

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        if not hasattr(self, "_tools"):
            return  # a debugger may show one whose making was refused
        yield "capabilities", [one for tool in self._tools for one in tool.capabilities]
        yield "conversation_id", self._tools[0].conversation_id

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


class _Transcript:
    """A history as the conversation of tools."""

    def __init__(self, history: StewrdChatMessageHistory) -> None:
        self._history = history

    def load(self) -> Sequence[Message]:
        return from_langchain(self._history.messages)

    async def aload(self) -> Sequence[Message]:
        return from_langchain(await self._history.aget_messages())

    def add(self, question: Message, outcome: Outcome) -> None:
        self._history.add_messages([_human(question), to_message(outcome)])

    async def aadd(self, question: Message, outcome: Outcome) -> None:
        await self._history.aadd_messages([_human(question), to_message(outcome)])


class _Source:
    """Where tools get their answers; one pickles without the key, as `ChatStewrd` does."""

    def __init__(self, conversation: str | None, options: ToolOptions) -> None:
        self._conversation = conversation
        self._options = options
        self._made: Asker | None = self._make()

    @property
    def asker(self) -> Asker:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> Asker:
        conversation, options = self._conversation, cast("ToolOptions", restored(self._options))
        runtime = Runtime(Options(**{**cast("Any", options), "conversation_id": conversation}))
        if conversation is None:
            return Asker(runtime)
        history = StewrdChatMessageHistory(
            conversation,
            tenant=options.get("tenant"),
            store=runtime.store,
            api_key=options.get("api_key"),
            base_url=options.get("base_url"),
        )
        return Asker(runtime, _Transcript(history))

    def __getstate__(self) -> dict[str, Any]:
        return {"conversation": self._conversation, "options": portable(self._options)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._conversation = state["conversation"]
        self._options = state["options"]  # the key is looked for when it is first needed
        self._made = None


def _human(question: Message) -> HumanMessage:
    if not question.files:
        return HumanMessage(question.text)
    blocks = [
        {"type": "text-plain", "mime_type": "text/plain", "title": file.name, "text": file.content}
        for file in question.files
    ]
    return HumanMessage([{"type": "text", "text": question.text}, *blocks])


def _told(outcome: Outcome, run: ToolRun) -> tuple[str, dict[str, Any]]:
    """What a call gives back; whoever counts credits is told of them."""
    facts = artifact(outcome)
    tell_of_answer(run, facts["usage"])
    return content(outcome), facts


def _corrected(error: ValidationError | ValidationErrorV1) -> str:
    """Wrong arguments, as the agent is told of them."""
    return wrong_arguments(cast("Sequence[Mapping[str, Any]]", error.errors()))
