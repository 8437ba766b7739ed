"""`ChatStewrd`: a Stewrd project's agent as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import model_validator
from typing_extensions import override

from ..errors import ConfigurationError
from ..offers import CHOICES, Offer, ToolChoice, offer_of
from ..options import PER_CALL, refuse_unknown
from ..runtime import Explanation, check_beside_tools
from ..sessions.call import Call, beyond_chat
from ..stamps import Stamp, addressed
from .configured import KEY_VARIABLE, ConfiguredChatModel
from .credits import tell_of_leaving
from .entrances import ENTRANCE, Entrance, lifted
from .errors import both_families
from .messages import MODEL_NAME, PROVIDER, from_langchain, to_chunk, to_message
from .stamps import of as stamps_of
from .structured import IN_WORDS, Method, StructuredOutput, form_of
from .tool_calling import Bindable, bound

# Keyword arguments that core adds to a call for itself.
FORMAT = "ls_structured_output_format"
_CORES_OWN = ("stream", FORMAT, "structured_output_format")
FORM = "stewrd_form"
"""The keyword argument that a structured answer has, with words for its form; core keeps its own
to itself, so this is what tells that a call stands alone."""

_HANDLED = frozenset({*PER_CALL, *_CORES_OWN, *CHOICES, FORM, ENTRANCE})


class ChatStewrd(ConfiguredChatModel):
    """A Stewrd project's agent as a chat model, on server-side sessions where they fit.

    LangChain hands over the whole list of messages at every call; a Stewrd session wants only
    what is new. The model finds the session that has heard exactly this list and sends it
    only the rest, and else says everything again. You see a chat model like any other.

    Setup:
        Install the package and set the API key of your project.

        ```bash
        pip install "stewrd-integrations[langchain]"
        export STEWRD_API_KEY="sk-stw_..."
        ```

    Key init args:
        - `api_key`: The project's key; else the environment variable `STEWRD_API_KEY`.
        - `base_url`: The API's address; else `STEWRD_BASE_URL`, or the public API.
        - `capabilities`: What the agent may use; None leaves all that the project allows.
        - `conversation_id`: The conversation's name; None for lists without a name.
        - `tenant`: Whose conversations these are; those of two tenants never meet.
        - `sessions`: When to open a session: "auto", "always" or "never".
        - `store`: Where is remembered which session heard what; else `STEWRD_STORE`, or memory.
        - `timeout`: Seconds that one request may take, 600 by default.
        - `stall_timeout`: Seconds that a stream may say nothing, 300 by default.
        - `max_retries`: How often a request that did no work is sent again, 2 by default.

        See the fields for the rest, each with its unit.

    Instantiate:
        ```python
        from stewrd_integrations.langchain import ChatStewrd

        model = ChatStewrd(capabilities=["chat", "research"])
        ```

    Invoke:
        ```python
        model.invoke("My name is Ada.").text
        ```

    Stream:
        ```python
        for chunk in model.stream("What do you know about session stores?"):
            print(chunk.text, end="")
        ```

        A capability that begins or ends its work shows as it happens, as a chunk without text
        whose `response_metadata["stewrd_progress"]` is a list of one entry: `type`
        ("tool_start" or "tool_end"), `tool` and `message`. The facts about the answer come
        with the last chunk.

    Async:
        ```python
        await model.ainvoke("My name is Ada.")
        async for chunk in model.astream("Who am I?"):
            print(chunk.text, end="")
        ```

    Conversations:
        Give a conversation its name where you know it, the surest way to its session:

        ```python
        model.invoke(messages, conversation_id="chat-42")
        model.bind(conversation_id="chat-42").invoke(messages)
        model.invoke(messages, {"configurable": {"conversation_id": "chat-42"}})
        ```

        A keyword of the call or of `bind()` counts more than `configurable`, and that more
        than the constructor. `configurable` may also hold `session_id` (as
        `RunnableWithMessageHistory` does), `tenant`, `capabilities` and `sessions`. A list
        without a name is recognised by the marks that our answers carry, so keep the messages
        whole; LangGraph's `thread_id` is no name, since tools and summarisers share it. The
        inputs of a batch stand alone unless they have a name.

        What a call would do, without doing it: `model.explain(messages).reason`.

    Response metadata:
        ```python
        model.invoke("Hello").response_metadata["stewrd"]
        ```

        It tells `request_id`, `session_id` (or None), `road` ("session" or "stateless"),
        `turn`, `reason`, `omitted_messages`, `messages_used`, `capabilities_used`, `files`,
        `usage` (credits and tokens) and `duration_ms`, and the `mark` by which the answer is
        recognised. `usage_metadata` is missing: the API does not part tokens in from tokens
        out.

    Raises:
        ConfigurationError: An option is wrong or unknown.
    """

    # -- what LangChain wants to know --------------------------------------------------

    @property
    @override
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "base_url": self._runtime.client.base_url,
            "capabilities": None if self.capabilities is None else list(self.capabilities),
        }

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        model = kwargs.get("model")
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=model if isinstance(model, str) else MODEL_NAME,
            ls_model_type="chat",
        )
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    @override
    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        kwargs.pop(ENTRANCE, None)  # nothing for traces
        return super()._get_invocation_params(stop=stop, **kwargs)

    @override
    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(
            text_inputs=True,
            image_inputs=False,
            pdf_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            text_outputs=True,
            tool_calling=True,
            structured_output=False,
        )

    @model_validator(mode="after")
    def _set_stewrd_version(self) -> ChatStewrd:
        self._add_version("stewrd-integrations", _version())
        return self

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain may dump the model; the key stays out."""
        return True

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        """Where a dump says that the class is: the public package, not this module."""
        return ["stewrd_integrations", "langchain"]

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in a dump."""
        return {"api_key": KEY_VARIABLE}

    # -- tokens ------------------------------------------------------------------------

    @override
    def get_token_ids(self, text: str) -> list[int]:
        """Refused, unless ``custom_get_token_ids`` is given: nobody tells which model answers."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        raise ConfigurationError(
            "The tokens of a text are not known: the project's settings choose the model.",
            advice="Use get_num_tokens(), which estimates, or pass custom_get_token_ids=.",
        )

    @override
    def get_num_tokens(self, text: str) -> int:
        """How many tokens a text has: an estimate, without ``custom_get_token_ids``."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return count_tokens_approximately([text], extra_tokens_per_message=0)

    @override
    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """How many tokens messages and tools have, for `trim_messages` and the like.

        The count of `count_tokens_approximately`: the API does not say which model answers.
        """
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens_from_messages(list(messages), tools)
        return count_tokens_approximately(messages, tools=list(tools) if tools else None)

    # -- answers -----------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with both_families():
            offer = offer_of(kwargs)
            outcome = self._runtime.answer(self._call(messages, stop, kwargs, offer))
        return _result(to_message(outcome, offer))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with both_families():
            offer = offer_of(kwargs)
            call = self._call(messages, stop, kwargs, offer)
            try:
                outcome = await self._runtime.aanswer(call)
            except asyncio.CancelledError as cancelled:
                tell_of_leaving(run_manager, cancelled)
                raise
        return _result(to_message(outcome, offer))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Generator[ChatGenerationChunk, None, None]:
        with both_families():
            offer = offer_of(kwargs)
            call = self._call(messages, stop, kwargs, offer, stream=True)
        chunks = self._chunks(call, offer, run_manager)
        _entrance(kwargs).opened.append(chunks)
        return chunks

    def _chunks(
        self, call: Call, offer: Offer, run_manager: CallbackManagerForLLMRun | None
    ) -> Generator[ChatGenerationChunk, None, None]:
        with both_families(), closing(self._runtime.stream(call)) as items:
            for item in items:
                chunk = _chunk(to_chunk(item, offer))
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    @override
    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        with both_families():
            offer = offer_of(kwargs)
            call = self._call(messages, stop, kwargs, offer, stream=True)
        chunks = self._achunks(call, offer, run_manager)
        _entrance(kwargs).opened.append(chunks)
        return chunks

    async def _achunks(
        self, call: Call, offer: Offer, run_manager: AsyncCallbackManagerForLLMRun | None
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        with both_families():
            async with aclosing(self._runtime.astream(call)) as items:
                async for item in items:
                    chunk = _chunk(to_chunk(item, offer))
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    @override
    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return {"model_name": MODEL_NAME, "model_provider": PROVIDER}

    def _call(
        self,
        messages: Sequence[BaseMessage],
        stop: Sequence[str] | None,
        given: Mapping[str, Any],
        offer: Offer,
        *,
        stream: bool = False,
    ) -> Call:
        entrance = _entrance(given)
        # None is as good as nothing: it must not take a tenant or a name away.
        who = {option: given[option] for option in PER_CALL if given.get(option) is not None}
        refuse_unknown({name: value for name, value in given.items() if name not in _HANDLED})
        who = addressed(who, self._stamps(messages, entrance), entrance.history, self.tenant)
        named = who.get("conversation_id", self.conversation_id) is not None
        stop = self.stop if stop is None else stop
        return self._runtime.call(
            offer.insist(from_langchain(messages)),
            who,
            thread=entrance.thread,
            one_shot=(entrance.one_shot and not named) or FORM in given,
            stream=stream,
            stop=[stop] if isinstance(stop, str) else stop,
            tools=offer.tools,
            demand=" ".join(filter(None, [offer.demand, given.get(FORM)])),
        )

    def _stamps(self, messages: Sequence[BaseMessage], entrance: Entrance) -> frozenset[Stamp]:
        """The stamps of a call that are true."""
        told = stamps_of(messages) | entrance.stamps
        if not told:
            return told
        vouches = self._runtime.vouches
        return frozenset(one for one in told if vouches(one.name, one.tenant, one.seal))

    def explain(
        self, messages: LanguageModelInput, config: RunnableConfig | None = None, **who: Any
    ) -> Explanation:
        """Say what a call would do, without sending, taking or changing anything.

        Args:
            messages: What the call would be given.
            config: Its config; ``configurable`` counts as in the call.
            who: Its ``conversation_id``, ``tenant``, ``capabilities`` or ``sessions``.

        Raises:
            InvalidInputError: The call could not be made like this.
        """
        shown = self._convert_input(messages).to_messages()
        given = lifted(config, who)
        return self._runtime.explain(self._call(shown, None, given, offer_of(given)))

    # -- tools and structured output ---------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[Bindable],
        *,
        tool_choice: ToolChoice = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that may call tools (contract, *Custom tools*).

        The API's limits are checked here: at most 20 tools, names and descriptions of at most
        64 and 1,024 characters. With tools the API uses the chat capability only and can't
        stream: a stream has one piece of text.

        Args:
            tools: Functions, pydantic classes, `BaseTool`s or their schemas.
            tool_choice: A tool's name, "any", "auto" or "none". The API has no such field: it
                is asked for in words, and the metadata's ``tool_choice_honoured`` tells
                whether it was followed.
            strict: Whether schemas shall forbid what they do not name.
            parallel_tool_calls: False asks for one call at a time, likewise in words.
            kwargs: More to bind, such as ``conversation_id``.

        Raises:
            InvalidInputError: A tool is not one that the API takes, or the choice names none.
        """
        offer = bound(
            tools, tool_choice=tool_choice, strict=strict, parallel_tool_calls=parallel_tool_calls
        )
        if offer_of(offer).tools:
            check_beside_tools(self._capabilities_of(kwargs))
        return self.bind(**offer, **kwargs)

    def _capabilities_of(self, bound: Mapping[str, Any]) -> Sequence[str] | None:
        """What the agent may use where this is bound."""
        capabilities: Sequence[str] | None = bound.get("capabilities") or self.capabilities
        return capabilities

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model that answers in a form; each answer stands alone and takes no session.

        Args:
            schema: A pydantic class, a `TypedDict` or a JSON Schema with a title. With
                "json_mode" it may be left out: any JSON will do.
            method: "function_calling" offers the form as a tool that must be called, for which
                the API uses the chat capability only; "json_schema" and "json_mode" ask for it
                in words, with any capability. By default the first, and "json_schema" where
                `capabilities` name more than chat.
            include_raw: Give a dict of ``raw``, ``parsed`` and ``parsing_error`` instead of
                raising.
            strict: Whether the form shall forbid what it does not name.
            kwargs: More to bind, such as ``capabilities``.

        Raises:
            OutputParserException: The answer, and the one after it that was shown what is
                wrong, do not have the form. Both were charged.
            ConfigurationError: The schema or the method can't be used.
            InvalidInputError: The method calls a tool, and the capabilities go beyond chat.
        """
        capabilities = self._capabilities_of(kwargs)
        if method is None:
            method = "json_schema" if beyond_chat(capabilities) else "function_calling"
        form = form_of(schema, method, strict)
        told: dict[str, Any] = {
            FORMAT: {"kwargs": {"method": method, "strict": strict}, "schema": schema or {}},
            FORM: form.words,
        }
        if schema is not None and form.by_tool:
            check_beside_tools(capabilities, advice=IN_WORDS)
            offer = bound([schema], tool_choice="any", strict=strict)
            return StructuredOutput(self.bind(**offer, **told, **kwargs), form, include_raw)
        return StructuredOutput(self.bind(**told, **kwargs), form, include_raw)


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=_end(message))])


def _chunk(message: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message, generation_info=_end(message))


def _end(message: AIMessage) -> dict[str, Any] | None:
    """Why the answer ended, where core's results have it too; nothing before its end."""
    reason = message.response_metadata.get("finish_reason")
    return None if reason is None else {"finish_reason": reason}


def _entrance(given: Mapping[str, Any]) -> Entrance:
    entrance = given.get(ENTRANCE)
    return entrance if isinstance(entrance, Entrance) else Entrance()


@cache
def _version() -> str:
    try:
        return version("stewrd-integrations")
    except PackageNotFoundError:
        return "0"


_version()  # now, and not on somebody's event loop
