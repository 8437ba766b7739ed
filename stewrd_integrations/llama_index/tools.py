"""`StewrdToolSpec`: a project's capabilities as tools of any model's agent."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MethodType
from typing import Any, TypeAlias, cast

from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.tools import FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.tools.tool_spec.base import SPEC_FUNCTION_TYPE, BaseToolSpec
from llama_index.core.tools.types import DefaultToolFnSchema
from typing_extensions import Unpack, override

from ..api.credentials import ApiKey
from ..asking import Asker, ToolOptions, artifact, checked, content, failure, user_message
from ..capabilities import Question, TextFile, description_of, name_of, question_of
from ..conversations import Conversation
from ..errors import ConfigurationError, InvalidInputError, StewrdError, StoreError
from ..options import Options
from ..runtime import Runtime
from ..sessions.call import Outcome
from ..types import CAPABILITIES, Message
from .events import Progress
from .messages import chat_response, read_messages

Files: TypeAlias = "Sequence[TextFile | Mapping[str, str]]"


class StewrdToolSpec(BaseToolSpec):
    """A tool for each capability of a Stewrd project.

    ```python
    from llama_index.core.agent.workflow import FunctionAgent
    from stewrd_integrations.llama_index import StewrdToolSpec

    tools = StewrdToolSpec(["research", "documents"]).to_tool_list()
    agent = FunctionAgent(llm=llm, tools=tools)
    ```

    A tool takes a ``message`` and, if need be, ``files``: a list of ``name`` and ``content``.
    The agent reads the answer; ``raw_output`` is a dict of plain values for the application:
    ``answer``, ``files`` (``name``, and ``content`` or a ``url`` that dies after 24 hours),
    ``usage`` and the other facts that `StewrdLLM` tells about an answer. The methods, like
    ``spec.research("Who maintains SQLite?")``, give the same, and raise where a call fails.

    A tool that fails does not raise: its output has ``is_error``, and the `StewrdError` in
    ``exception``. It tells the agent, once, the code, whether it was charged, and whether to
    call again.

    A capability that begins or ends its work is a `StewrdProgressEvent` of LlamaIndex's
    instrumentation, and a `StewrdProgress` in the stream of the agent or workflow.

    Args:
        capabilities: One tool is made for each; all six by default. Name those that the project
            has enabled: the others can only fail. An agent can't change them.
        conversation_id: Name of one conversation of all the tools: what one of them found, the
            next one knows, on one session. Its transcript is kept in the store, so it outlives
            sessions. Without a name, each call stands alone and takes no session. Give each
            conversation of your application a name of its own.
        **options: ``max_credits``, what all the tools together may spend, and ``api_key``,
            ``base_url``, ``tenant``, ``store``, ``on_store_error``, ``max_active_sessions``,
            ``replay_budget``, ``retry_on_compute_error``, ``timeout``, ``max_retries``,
            ``http_client``, ``http_async_client`` and ``default_headers`` as `StewrdLLM` has
            them.

    Raises:
        ConfigurationError: An option is wrong or unknown.
    """

    spec_functions: list[SPEC_FUNCTION_TYPE]

    def __init__(
        self,
        capabilities: Sequence[str] = CAPABILITIES,
        *,
        conversation_id: str | int | uuid.UUID | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        # From here on, no frame holds the key in a form that shows it.
        options["api_key"] = ApiKey(options.pop("api_key", None))
        self._capabilities, self._conversation_id = checked(capabilities, conversation_id, options)
        self._asker = _asker(self._conversation_id, options)
        self.spec_functions = [(one, f"a{one}") for one in self._capabilities]

    def __repr__(self) -> str:
        if not hasattr(self, "_capabilities"):
            return f"{type(self).__name__}(?)"  # a debugger may show one whose making was refused
        return f"{type(self).__name__}({list(self._capabilities)!r})"

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the tools may use, one each."""
        return self._capabilities

    @property
    def conversation_id(self) -> str | None:
        """Name of the tools' conversation."""
        return self._conversation_id

    # -- tools -------------------------------------------------------------------------

    @override
    def to_tool_list(
        self,
        spec_functions: list[SPEC_FUNCTION_TYPE] | None = None,
        func_to_metadata_mapping: dict[str, ToolMetadata] | None = None,
    ) -> list[FunctionTool]:
        """The tools, in the order of the capabilities.

        Args:
            spec_functions: Names of methods, or pairs of them, where not all are wanted.
            func_to_metadata_mapping: Other names and descriptions, by the methods' names.

        Raises:
            ConfigurationError: One of them is a capability that the spec was not made for.
        """
        tools = super().to_tool_list(spec_functions, func_to_metadata_mapping)
        return [self._as_capability(tool) for tool in tools]

    @override
    def get_fn_schema_from_fn_name(
        self, fn_name: str, spec_functions: list[SPEC_FUNCTION_TYPE] | None = None
    ) -> type[BaseModel] | None:
        if self._capability_of(getattr(self, fn_name, None)):
            return Question
        return super().get_fn_schema_from_fn_name(fn_name, spec_functions)

    @override
    def get_metadata_from_fn_name(
        self, fn_name: str, spec_functions: list[SPEC_FUNCTION_TYPE] | None = None
    ) -> ToolMetadata | None:
        capability = self._capability_of(getattr(self, fn_name, None))
        if capability is None:
            return super().get_metadata_from_fn_name(fn_name, spec_functions)
        remembers = self._conversation_id is not None
        description = description_of([capability], remembers=remembers)
        return ToolMetadata(description, name_of([capability]), Question)

    def _as_capability(self, tool: FunctionTool) -> FunctionTool:
        capability = self._capability_of(tool.real_fn)
        if capability is None:  # a function of a subclass
            return tool
        return _CapabilityTool(
            self._expert(capability),
            fn=getattr(self, capability),
            async_fn=getattr(self, f"a{capability}"),
            metadata=_completed(tool.metadata, capability),
        )

    def _capability_of(self, function: object) -> str | None:
        """The capability that a method of this very class asks for."""
        for capability in CAPABILITIES:
            for name in (capability, f"a{capability}"):
                if function == MethodType(getattr(StewrdToolSpec, name), self):
                    return capability
        return None

    # -- calls -------------------------------------------------------------------------

    def chat(self, message: str, files: Files = ()) -> ToolOutput:
        """Ask another language model.

        Args:
            message: The task or the question, with all that needs to be known.
            files: Text files to work on.

        Returns:
            The answer as ``content``, and what is known about it as ``raw_output``.

        Raises:
            ConfigurationError: The spec was not made for this capability.
            InvalidInputError: An argument is wrong; nothing was sent.
            StewrdError: No answer came.
        """
        return self._ask("chat", message, files)

    async def achat(self, message: str, files: Files = ()) -> ToolOutput:
        """`chat` for the event loop."""
        return await self._aask("chat", message, files)

    def research(self, message: str, files: Files = ()) -> ToolOutput:
        """Research a question on the web; arguments, result and errors are those of `chat`."""
        return self._ask("research", message, files)

    async def aresearch(self, message: str, files: Files = ()) -> ToolOutput:
        """`research` for the event loop."""
        return await self._aask("research", message, files)

    def documents(self, message: str, files: Files = ()) -> ToolOutput:
        """Have a document written; arguments, result and errors are those of `chat`."""
        return self._ask("documents", message, files)

    async def adocuments(self, message: str, files: Files = ()) -> ToolOutput:
        """`documents` for the event loop."""
        return await self._aask("documents", message, files)

    def code(self, message: str, files: Files = ()) -> ToolOutput:
        """Have code written, explained or mended; the rest is as in `chat`."""
        return self._ask("code", message, files)

    async def acode(self, message: str, files: Files = ()) -> ToolOutput:
        """`code` for the event loop."""
        return await self._aask("code", message, files)

    def data(self, message: str, files: Files = ()) -> ToolOutput:
        """Have data analysed; arguments, result and errors are those of `chat`."""
        return self._ask("data", message, files)

    async def adata(self, message: str, files: Files = ()) -> ToolOutput:
        """`data` for the event loop."""
        return await self._aask("data", message, files)

    def files(self, message: str, files: Files = ()) -> ToolOutput:
        """Have files read, converted or made; the rest is as in `chat`."""
        return self._ask("files", message, files)

    async def afiles(self, message: str, files: Files = ()) -> ToolOutput:
        """`files` for the event loop."""
        return await self._aask("files", message, files)

    def _ask(self, capability: str, message: str, files: Files) -> ToolOutput:
        expert = self._expert(capability)
        question = question_of({"message": message, "files": files})
        return expert.ask(question, name_of([capability]), _raw_input(question.model_dump()))

    async def _aask(self, capability: str, message: str, files: Files) -> ToolOutput:
        expert = self._expert(capability)
        question = question_of({"message": message, "files": files})
        raw_input = _raw_input(question.model_dump())
        return await expert.aask(question, name_of([capability]), raw_input)

    def _expert(self, capability: str) -> _Expert:
        if capability not in self._capabilities:
            raise ConfigurationError(
                f"This spec was not made for {capability!r}.",
                advice=f"It has {', '.join(self._capabilities)}; name others when you make it.",
            )
        return _Expert(self._asker, capability, keeps=self._conversation_id is not None)

    # -- connections -------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        self._asker.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        await self._asker.aclose()


class _Expert:
    """The agent behind one capability."""

    def __init__(self, asker: Asker, capability: str, *, keeps: bool) -> None:
        self._asker = asker
        self._own = (capability,)
        self._keeps = keeps

    def ask(self, question: Question, by: str, raw_input: dict[str, Any]) -> ToolOutput:
        """Ask once, for a tool of this name."""
        outcome = self._asker.ask(self._message(question), self._own, Progress(by))
        return _output(outcome, by, raw_input)

    async def aask(self, question: Question, by: str, raw_input: dict[str, Any]) -> ToolOutput:
        """`ask` for the event loop."""
        outcome = await self._asker.aask(self._message(question), self._own, Progress(by))
        return _output(outcome, by, raw_input)

    def _message(self, question: Question) -> Message:
        empty = next((file.name for file in question.files if not file.content), None)
        if self._keeps and empty is not None:
            # LlamaIndex has no form for a document without content.
            raise InvalidInputError(
                f"The file {empty!r} is empty, and a conversation can't keep such a file.",
                advice="Leave it out.",
            )
        return user_message(question.message, question.files)


class _CapabilityTool(FunctionTool):
    """A capability as LlamaIndex's tool: a call that fails has an output, too."""

    def __init__(self, expert: _Expert, **parts: Any) -> None:
        super().__init__(**parts)
        self._expert = expert

    @override
    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        given = {**self.partial_params, **kwargs}
        raw_input = _raw_input(given, args)
        try:
            question = _question(args, given)
        except InvalidInputError as wrong:
            return self._failed(wrong, str(wrong), raw_input)
        name = self.metadata.get_name()
        try:
            return self._expert.ask(question, name, raw_input)
        except StewrdError as error:
            return self._failed(error, failure(name, error), raw_input)

    @override
    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        given = {**self.partial_params, **kwargs}
        raw_input = _raw_input(given, args)
        try:
            question = _question(args, given)
        except InvalidInputError as wrong:
            return self._failed(wrong, str(wrong), raw_input)
        name = self.metadata.get_name()
        try:
            return await self._expert.aask(question, name, raw_input)
        except StewrdError as error:
            return self._failed(error, failure(name, error), raw_input)

    def _failed(self, error: StewrdError, told: str, raw_input: dict[str, Any]) -> ToolOutput:
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            content=told,
            raw_input=raw_input,
            raw_output=told,
            is_error=True,
            exception=error,
        )


def _completed(metadata: ToolMetadata, capability: str) -> ToolMetadata:
    """What an application says of a tool, with what it left unsaid."""
    unsaid = metadata.fn_schema in (None, DefaultToolFnSchema)
    return replace(
        metadata,
        name=metadata.name or name_of([capability]),
        fn_schema=Question if unsaid else metadata.fn_schema,
    )


def _question(args: Sequence[Any], named: Mapping[str, Any]) -> Question:
    placed = dict(zip(Question.model_fields, args, strict=False))
    if len(placed) < len(args) or placed.keys() & named.keys():
        raise InvalidInputError(
            "The arguments are wrong, and nothing was sent. Pass a message, and files if need be."
        )
    return question_of({**placed, **named})


def _raw_input(named: Mapping[str, Any], args: Sequence[Any] = ()) -> dict[str, Any]:
    """What was passed, as every function tool tells it."""
    return {"args": tuple(args), "kwargs": dict(named)}


def _output(outcome: Outcome, by: str, raw_input: dict[str, Any]) -> ToolOutput:
    return ToolOutput(
        tool_name=by,
        content=content(outcome),
        raw_input=raw_input,
        raw_output=artifact(outcome),
    )


# -- conversations ---------------------------------------------------------------------


def _asker(conversation: str | None, options: ToolOptions) -> Asker:
    given = Options(**{**cast("Any", options), "conversation_id": conversation})
    runtime = Runtime(given)
    if conversation is None:
        return Asker(runtime)
    return Asker(runtime, _Transcript(Conversation(replace(given, store=runtime.store))))


class _Transcript:
    """A conversation as a list of LlamaIndex's messages in a store."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def load(self) -> Sequence[Message]:
        return _read(self._conversation.load())

    async def aload(self) -> Sequence[Message]:
        return _read(await self._conversation.aload())

    def add(self, question: Message, outcome: Outcome) -> None:
        self._conversation.append(_lines(question, outcome))

    async def aadd(self, question: Message, outcome: Outcome) -> None:
        await self._conversation.aappend(_lines(question, outcome))


def _lines(question: Message, outcome: Outcome) -> list[str]:
    said = (_asked(question), chat_response(outcome).message)
    return [json.dumps(message.model_dump(mode="json")) for message in said]


def _asked(question: Message) -> ChatMessage:
    documents = [
        DocumentBlock(
            # Encoded, because LlamaIndex takes a text that could be base64 for base64.
            data=base64.b64encode((file.content or "").encode("utf-8", "replace")),
            title=file.name,
            document_mimetype="text/plain",
        )
        for file in question.files
    ]
    return ChatMessage(role=MessageRole.USER, blocks=[TextBlock(text=question.text), *documents])


def _read(lines: Sequence[str]) -> Sequence[Message]:
    try:
        messages = [ChatMessage.model_validate_json(line) for line in lines]
    except ValidationError:
        messages = None
    if messages is None:  # outside, since what was raised shows the line
        raise StoreError(
            "The transcript of the tools' conversation holds a line that is not a message.",
            advice="It was not written by these tools: give their conversation a name of its own.",
        )
    return read_messages(messages)
