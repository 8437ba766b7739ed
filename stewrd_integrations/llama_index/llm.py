"""`StewrdLLM`: Stewrd's agent as a model of LlamaIndex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, NamedTuple

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from ..api.credentials import KeySource
from ..errors import InvalidInputError
from ..offers import CHOICES, Offer, offer_of
from ..options import PER_CALL, refuse_unknown
from ..runtime import Explanation
from ..sessions.call import Call, Outcome
from ..stamps import Stamp, addressed
from .messages import Writing, chat_response, completion, read_messages
from .pending import Pending, claimed, stands_alone
from .single_calls import SingleCalls
from .stamps import of as stamps_of
from .stamps import said
from .tool_calling import ALONE


class StewrdLLM(SingleCalls):
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
        stall_timeout: Seconds that a stream may say nothing; None for no limit but ``timeout``.
        max_retries: How often a request that certainly did no work is sent again.
        max_credits: Credits that this object may spend; a request that could pass them is not sent.
        http_client: An ``httpx.Client`` to use; it is not closed by this object.
        http_async_client: An ``httpx.AsyncClient`` to use, likewise.
        default_headers: Headers of every request.
        **options: Those above, and what every model of LlamaIndex takes, like
            ``callback_manager`` and ``system_prompt``.

    Raises:
        ConfigurationError: An option is wrong or unknown, or there is no key.
    """

    if TYPE_CHECKING:  # else checkers would make one up from the fields, which lack the key

        def __init__(self, *, api_key: KeySource = None, **options: Any) -> None: ...

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "StewrdLLM"

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
        return self._answer(self._asked(messages, kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer like `chat`, piece by piece.

        The deltas sum to the answer; the last chunk has its mark and tells about its way.
        A capability at work is a chunk with an empty delta and
        ``raw={"type": "tool_start", …}`` (contract, *Streaming*).
        """
        return self._stream(self._asked(messages, kwargs, stream=True))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer like `chat`, on the event loop."""
        return await self._aanswer(self._asked(messages, kwargs))

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Answer like `stream_chat`, on the event loop."""
        return self._astream(self._asked(messages, kwargs, stream=True))

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
        return self._runtime.explain(self._asked(messages, who, only_looking=True).call)

    # -- calls -------------------------------------------------------------------------

    def _asked(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        *,
        stream: bool = False,
        one_shot: bool = False,
        only_looking: bool = False,
    ) -> _Asked:
        given = {name: value for name, value in kwargs.items() if value is not None}
        stop = _stop_texts(given.pop("stop", None))
        one_shot = bool(given.pop(ALONE, one_shot))
        offer = offer_of(given)
        own = {name: given[name] for name in PER_CALL if name in given}
        refuse_unknown({n: v for n, v in given.items() if n not in {*own, *CHOICES}})
        pending = None if one_shot or only_looking else claimed(messages)
        true = frozenset(stamp for stamp in stamps_of(messages) if self._vouches(stamp))
        if pending is not None:
            true |= {pending.stamp}
        call = self._runtime.call(
            offer.insist(tuple(read_messages(messages, self._said(messages, true, pending)))),
            {**self._own_labels(), **addressed(own, true, None, self.tenant)},
            one_shot=one_shot or (pending is None and stands_alone()),
            stream=stream,
            stop=stop,
            tools=offer.tools,
            demand=offer.demand,
        )
        return _Asked(call, offer)

    def _own_labels(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PER_CALL}

    def _vouches(self, stamp: Stamp) -> bool:
        return self._runtime.vouches(stamp.name, stamp.tenant, stamp.seal)

    @staticmethod
    def _said(
        messages: Sequence[ChatMessage], true: frozenset[Stamp], pending: Pending | None
    ) -> dict[int, str]:
        """What the user said last, by its place, where an engine may have written into it.

        Only the newest: whoever changes an older message edits the conversation.
        """
        for at in range(len(messages) - 1, -1, -1):
            newest = messages[at]
            if newest.role == MessageRole.USER:
                break
        else:
            return {}
        text = said(newest) if true & stamps_of([newest]) else None
        if pending is not None:
            text = pending.said
        return {at: text} if text else {}

    def _alone(self, prompt: str, kwargs: Mapping[str, Any], *, stream: bool = False) -> _Asked:
        if kwargs.get("conversation_id") is not None:
            raise InvalidInputError(
                "A completion stands alone, so conversation_id is of no use to it.",
                advice="Use chat(), which continues conversations.",
            )
        message = ChatMessage(role=MessageRole.USER, content=prompt)
        return self._asked([message], kwargs, stream=stream, one_shot=True)

    def _answer(self, asked: _Asked) -> ChatResponse:
        return asked.response(self._runtime.answer(asked.call))

    async def _aanswer(self, asked: _Asked) -> ChatResponse:
        return asked.response(await self._runtime.aanswer(asked.call))

    def _stream(self, asked: _Asked) -> ChatResponseGen:
        writing = Writing(asked.offer)
        with closing(self._runtime.stream(asked.call)) as items:
            for item in items:
                yield writing.chunk(item)

    async def _astream(self, asked: _Asked) -> ChatResponseAsyncGen:
        writing = Writing(asked.offer)
        async with aclosing(self._runtime.astream(asked.call)) as items:
            async for item in items:
                yield writing.chunk(item)

    def _stream_completion(self, asked: _Asked) -> CompletionResponseGen:
        with closing(self._stream(asked)) as chunks:
            for chunk in chunks:
                yield completion(chunk)

    async def _astream_completion(self, asked: _Asked) -> CompletionResponseAsyncGen:
        async with aclosing(self._astream(asked)) as chunks:
            async for chunk in chunks:
                yield completion(chunk)


class _Asked(NamedTuple):
    """A call, and what was asked of its answer."""

    call: Call
    offer: Offer

    def response(self, outcome: Outcome) -> ChatResponse:
        return chat_response(outcome, self.offer)


def _stop_texts(stop: Any) -> Sequence[str]:
    texts = [stop] if isinstance(stop, str) else stop
    if texts is None:
        return ()
    if not isinstance(texts, Sequence) or not all(isinstance(t, str) and t for t in texts):
        raise InvalidInputError("stop is not a list of texts.", advice='Pass one like ["END"].')
    return tuple(texts)
