"""`StewrdLLM`: Stewrd's agent as a model of LlamaIndex."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import Field, PrivateAttr, ValidationError, field_validator
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import LLM

from ..api.credentials import ApiKey, KeySource
from ..errors import ConfigurationError, InvalidInputError
from ..runtime import (
    OPTION_NAMES,
    PER_CALL,
    Explanation,
    Options,
    Runtime,
    refuse_unknown,
)
from ..sessions.call import Call, SessionsPolicy
from .messages import Writing, chat_response, completion, read_messages

CONTEXT_WINDOW = 1_000_000
"""Tokens. A small one makes LlamaIndex's memories cut histories that a session holds anyway."""

CHARACTERS_PER_TOKEN = 5
"""More than a token of any usual text has, so that what fits in tokens fits in characters."""

_OF_THIS_PROCESS = ("callback_manager", "rate_limiter")


class StewrdLLM(LLM):
    """Stewrd's agent as a chat model, which keeps each conversation in a session of its own.

    LlamaIndex shows the whole list of messages at every call; the agent is sent only what its
    session has not heard yet, and everything where there is no session. What an answer says
    about its way is in the response's ``raw`` and ``additional_kwargs``.

    Every argument is optional and given by keyword. ``capabilities``, ``conversation_id``,
    ``tenant`` and ``sessions`` may be given to a call as well, where None is as if not given,
    and may be assigned later. The others can't: use ``model_copy(update=...)``.

    Args:
        api_key: Text, a ``SecretStr``, or a callable that is asked at each call; else the
            environment variable ``STEWRD_API_KEY``. Never in dumps, pickles, logs or errors.
        base_url: Address of the API, https or on this machine; else ``STEWRD_BASE_URL``.
        capabilities: What the agent may use; None is all that the project has enabled
            (contract, *AgentRequest*).
        conversation_id: The conversation's name, for a model object that serves only one.
        tenant: Whose conversations these are; two tenants never meet.
        sessions: When to open a session: "auto", "always" or "never".
        store: Where bindings are kept: an object or a URL; else ``STEWRD_STORE``, or memory.
        match_by_content: Whether an unnamed history without marks may be recognised by its
            exact words, within this object.
        on_trim: Whether a history whose front was cut off goes on ("continue") or is sent
            anew ("replay").
        on_instructions_change: The same for a changed system message.
        on_session_limit: "stateless" answers without a session where none is free, "error"
            raises.
        on_store_error: "stateless" takes a failing store for an empty one, "error" raises.
        max_active_sessions: Sessions that the project may have at once (contract, *Sessions*).
        session_message_limit: Messages that a session holds (contract, *Sessions*).
        idle_timeout: Seconds after which an idle session is gone (contract, *Sessions*).
        recap: "window", or a callable that summarises the messages a replay leaves out.
        replay_budget: Characters of a replay.
        retry_on_compute_error: Whether a turn that failed with a refunded 502 is sent again.
        tool_reserve: Messages kept free in a session for rounds of tools.
        timeout: Seconds for a whole answer; None waits for ever.
        max_retries: How often a request that never reached the server is tried again.
        http_client: An ``httpx.Client`` to use; it is not closed by this object.
        http_async_client: An ``httpx.AsyncClient`` to use, likewise.
        default_headers: Headers of every request.
        **options: Those above, and what every model of LlamaIndex takes, like
            ``callback_manager`` and ``system_prompt``.

    Raises:
        ConfigurationError: An option is wrong or unknown, or there is no key.
    """

    base_url: str | None = Field(default=None, frozen=True)
    capabilities: Sequence[str] | None = None
    conversation_id: str | None = None
    tenant: str | None = None
    sessions: SessionsPolicy = "auto"
    # Its URL may hold a password, so it is in no dump.
    store: Any = Field(default=None, frozen=True, exclude=True, repr=False)
    match_by_content: bool = Field(default=True, frozen=True)
    on_trim: Literal["continue", "replay"] = Field(default="continue", frozen=True)
    on_instructions_change: Literal["continue", "replay"] = Field(default="continue", frozen=True)
    on_session_limit: Literal["stateless", "error"] = Field(default="stateless", frozen=True)
    on_store_error: Literal["stateless", "error"] = Field(default="stateless", frozen=True)
    max_active_sessions: int = Field(default=10, frozen=True)
    session_message_limit: int = Field(default=50, frozen=True)
    idle_timeout: float = Field(default=1_800.0, frozen=True)
    # A callable is no plain value, so none of these is in a dump; headers may hold secrets too.
    recap: Any = Field(default="window", frozen=True, exclude=True, repr=False)
    replay_budget: int = Field(default=100_000, frozen=True)
    max_credits: float | None = Field(default=None, frozen=True)
    retry_on_compute_error: bool = Field(default=False, frozen=True)
    tool_reserve: int = Field(default=6, frozen=True)
    timeout: float | None = Field(default=600.0, frozen=True)
    max_retries: int = Field(default=2, frozen=True)
    http_client: Any = Field(default=None, frozen=True, exclude=True, repr=False)
    http_async_client: Any = Field(default=None, frozen=True, exclude=True, repr=False)
    default_headers: Mapping[str, str] | None = Field(
        default=None, frozen=True, exclude=True, repr=False
    )

    _key: ApiKey = PrivateAttr()
    _runtime: Runtime = PrivateAttr()

    @field_validator("conversation_id", "tenant", mode="before")
    @classmethod
    def _label(cls, value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if is_number or isinstance(value, uuid.UUID) else value

    def __init__(self, *, api_key: KeySource = None, **options: Any) -> None:
        """Make a model; see the class for the arguments."""
        key = ApiKey(api_key)
        del api_key
        fields = type(self).model_fields
        unknown = [
            name for name, value in options.items() if name not in fields and value is not None
        ]
        problem = f"Unknown options: {', '.join(sorted(unknown))}." if unknown else None
        known = {name: value for name, value in options.items() if name in fields}
        # Someone may have passed the key under another name: this frame must not show it.
        options.clear()
        if problem is None:
            try:
                super().__init__(**known)
            except ValidationError as error:
                problem = _without_values(error)
        known.clear()
        if problem is not None:
            raise ConfigurationError(problem)
        self._key = key
        given = {name: getattr(self, name) for name in OPTION_NAMES if name != "api_key"}
        self._runtime = Runtime(Options(api_key=key, **given))

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "StewrdLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex wants to know about the model; windows are in tokens."""
        # Memories look at the window alone. Prompt helpers fill what of it is not kept for the
        # answer, and are to divide a text that no single message could hold.
        room = min(self.replay_budget // CHARACTERS_PER_TOKEN, CONTEXT_WINDOW)
        return LLMMetadata(
            context_window=CONTEXT_WINDOW,
            num_output=CONTEXT_WINDOW - room,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name="stewrd-agent",
            system_role=MessageRole.SYSTEM,
        )

    # -- conversations -----------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer the last message of a conversation.

        Args:
            messages: The whole conversation.
            **kwargs: ``capabilities``, ``conversation_id``, ``tenant``, ``sessions``, and
                ``stop``, texts at which the answer ends.

        Returns:
            The answer. Its message carries a mark, by which it is recognised when it comes
            back, and generated files as documents.

        Raises:
            InvalidInputError: A message or an argument can't be sent; nothing was.
            StewrdError: As the server reported it.
        """
        return self._answer(self._call(messages, kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer like `chat`, piece by piece.

        The deltas sum to the answer; the last chunk has its mark and tells about its way.
        A capability at work is a chunk with an empty delta and
        ``raw={"type": "tool_start", …}`` (contract, *Streaming*).
        """
        return self._stream(self._call(messages, kwargs, stream=True))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer like `chat`, on the event loop."""
        return await self._aanswer(self._call(messages, kwargs))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Answer like `stream_chat`, on the event loop."""
        return self._astream(self._call(messages, kwargs, stream=True))

    # -- one-shots ---------------------------------------------------------------------

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002  # LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponse:
        """Answer a prompt that stands alone: it takes no session and leaves no trace.

        Args:
            prompt: What to say to the agent.
            formatted: Makes no difference, as for every chat model.
            **kwargs: ``capabilities``, ``tenant``, ``sessions`` and ``stop``.

        Raises:
            InvalidInputError: An argument can't be used; nothing was sent.
            StewrdError: As the server reported it.
        """
        return completion(self._answer(self._alone(prompt, kwargs)))

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002  # LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponseGen:
        """Answer like `complete`, piece by piece."""
        return self._stream_completion(self._alone(prompt, kwargs, stream=True))

    @llm_completion_callback()
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002  # LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponse:
        """Answer like `complete`, on the event loop."""
        return completion(await self._aanswer(self._alone(prompt, kwargs)))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002  # LlamaIndex's
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        """Answer like `stream_complete`, on the event loop."""
        return self._astream_completion(self._alone(prompt, kwargs, stream=True))

    # -- looking ahead -----------------------------------------------------------------

    def explain(self, messages: Sequence[ChatMessage], **who: Any) -> Explanation:
        """Say what `chat` would do, without sending, taking or changing anything.

        Args:
            messages: The whole conversation.
            **who: What would be passed to `chat`.

        Raises:
            InvalidInputError: `chat` would raise it too.
        """
        return self._runtime.explain(self._call(messages, who))

    # -- calls -------------------------------------------------------------------------

    def _call(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        *,
        stream: bool = False,
        one_shot: bool = False,
    ) -> Call:
        given = {name: value for name, value in kwargs.items() if value is not None}
        stop = _stop_texts(given.pop("stop", None))
        who = {name: given.pop(name, getattr(self, name)) for name in PER_CALL}
        refuse_unknown(given)
        return self._runtime.call(
            read_messages(messages), who, one_shot=one_shot, stream=stream, stop=stop
        )

    def _alone(self, prompt: str, kwargs: Mapping[str, Any], *, stream: bool = False) -> Call:
        if kwargs.get("conversation_id") is not None:
            raise InvalidInputError(
                "A completion stands alone, so conversation_id is of no use to it.",
                advice="Use chat(), which continues conversations.",
            )
        message = ChatMessage(role=MessageRole.USER, content=prompt)
        return self._call([message], kwargs, stream=stream, one_shot=True)

    def _answer(self, call: Call) -> ChatResponse:
        return chat_response(self._runtime.answer(call))

    async def _aanswer(self, call: Call) -> ChatResponse:
        return chat_response(await self._runtime.aanswer(call))

    def _stream(self, call: Call) -> ChatResponseGen:
        writing = Writing()
        with closing(self._runtime.stream(call)) as items:
            for item in items:
                yield writing.chunk(item)

    async def _astream(self, call: Call) -> ChatResponseAsyncGen:
        writing = Writing()
        async with aclosing(self._runtime.astream(call)) as items:
            async for item in items:
                yield writing.chunk(item)

    def _stream_completion(self, call: Call) -> CompletionResponseGen:
        with closing(self._stream(call)) as chunks:
            for chunk in chunks:
                yield completion(chunk)

    async def _astream_completion(self, call: Call) -> CompletionResponseAsyncGen:
        async with aclosing(self._astream(call)) as chunks:
            async for chunk in chunks:
                yield completion(chunk)

    # -- copies and pickles ------------------------------------------------------------

    def model_copy(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,  # noqa: ARG002  # pydantic's
    ) -> StewrdLLM:
        """A new model with the same options but for those in ``update``.

        Its connections are its own; what a conversation is recognised by is in the store.

        Raises:
            ConfigurationError: An option is wrong or unknown.
        """
        given = {"api_key": self._key, **self._given(), **(update or {})}
        given["api_key"] = ApiKey(given["api_key"])
        del update
        return type(self)(**given)

    def __copy__(self) -> StewrdLLM:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> StewrdLLM:
        # Clients hold locks and sockets, which can't be copied, and a store is meant to be shared.
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the key, which is found in the environment where the model is built again.
        given = self._given()
        for name in _OF_THIS_PROCESS:
            del given[name]
        return _rebuild, (type(self), given)

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Give the sync client's connections back; a later call opens new ones."""
        self._runtime.close()

    async def aclose(self) -> None:
        """Give the connections of both clients back; a later call opens new ones."""
        await self._runtime.aclose()

    def __enter__(self) -> StewrdLLM:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> StewrdLLM:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _rebuild(cls: type[StewrdLLM], given: dict[str, Any]) -> StewrdLLM:
    return cls(**given)


def _without_values(error: ValidationError) -> str:
    """What is wrong, without what was passed: the key may have come under a wrong name."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found]
    return f"Wrong options: {'; '.join(wrong)}."


def _stop_texts(stop: Any) -> Sequence[str]:
    texts = [stop] if isinstance(stop, str) else stop
    if texts is None:
        return ()
    if not isinstance(texts, Sequence) or not all(isinstance(t, str) and t for t in texts):
        raise InvalidInputError("stop is not a list of texts.", advice='Pass one like ["END"].')
    return tuple(texts)
