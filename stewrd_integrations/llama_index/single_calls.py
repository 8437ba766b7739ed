"""The ways into a model of LlamaIndex that ask for one thing and keep no conversation.

``predict`` and its kin serve condensers, synthesizers, extractors and refine loops; what they
answer never comes back as a message. So these calls take no session and no name, unless it is a
memory's own turn that travels this way (see `pending`). The same holds for structured answers
and for the choice of a tool by ``predict_and_call``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.instrumentation import (  # type: ignore[attr-defined]  # its public name, though it does not mark it so
    DISPATCHER_SPAN_DECORATED_ATTR,
)
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.program.utils import FlexibleModel
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate, PromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import TokenAsyncGen, TokenGen
from typing_extensions import override

from .configured import ConfiguredLLM
from .pending import standing_alone
from .stamps import of
from .tool_calling import (
    ALONE,
    CALLS,
    FORM,
    aformed,
    conversation,
    formed,
    prepared,
    selections,
    single,
)

Form = TypeVar("Form", bound=BaseModel)


Method = TypeVar("Method", bound=Callable[..., Any])


def _in_its_span(method: Method) -> Method:
    """An override whose span is that of the method it calls; else each would be traced twice."""
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


def _form(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    return {**(kwargs or {}), ALONE: FORM}


def _unfilled_history(
    prompt: BasePromptTemplate, messages: Sequence[ChatMessage]
) -> list[ChatMessage]:
    """A prompt's messages, with those of a memory as it handed them out.

    Engines put the history into the template, so that LlamaIndex would fill in what once was
    said, too: `{query_str}` in it would become what is said now.
    """
    if not isinstance(prompt, ChatPromptTemplate):
        return list(messages)
    history = prompt.message_templates[:-1]  # the last one is what is said now
    first = len(messages) - len(prompt.message_templates)  # the model may have instructions
    kept = {first + at: message for at, message in enumerate(history) if of([message])}
    return [kept.get(at, message) for at, message in enumerate(messages)]


class SingleCalls(ConfiguredLLM):
    """A model that knows which of its calls stand alone, and how tools are offered."""

    # -- predictions -------------------------------------------------------------------

    @override
    @_in_its_span
    def predict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        with standing_alone(rewritten=self.output_parser is not None):
            return super().predict(prompt, **prompt_args)

    @override
    @_in_its_span
    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        with standing_alone(rewritten=self.output_parser is not None):
            return await super().apredict(prompt, **prompt_args)

    @override
    @_in_its_span
    def stream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenGen:
        with standing_alone():
            return super().stream(prompt, **prompt_args)

    @override
    @_in_its_span
    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        with standing_alone():
            return await super().astream(prompt, **prompt_args)

    @override
    def _get_messages(self, prompt: BasePromptTemplate, **prompt_args: Any) -> list[ChatMessage]:
        return _unfilled_history(prompt, super()._get_messages(prompt, **prompt_args))

    # -- structured answers ------------------------------------------------------------

    @override
    @_in_its_span
    def structured_predict(
        self,
        output_cls: type[Form],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Form:
        given = _form(llm_kwargs)
        answer: Form = super().structured_predict(output_cls, prompt, given, **prompt_args)
        return answer

    @override
    @_in_its_span
    async def astructured_predict(
        self,
        output_cls: type[Form],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Form:
        given = _form(llm_kwargs)
        answer: Form = await super().astructured_predict(output_cls, prompt, given, **prompt_args)
        return answer

    @override
    @_in_its_span
    def stream_structured_predict(
        self,
        output_cls: type[Form],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Form | FlexibleModel, None, None]:
        given = _form(llm_kwargs)
        return super().stream_structured_predict(output_cls, prompt, given, **prompt_args)

    @override
    @_in_its_span
    async def astream_structured_predict(
        self,
        output_cls: type[Form],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Form | FlexibleModel, None]:
        given = _form(llm_kwargs)
        return await super().astream_structured_predict(output_cls, prompt, given, **prompt_args)

    # -- tools -------------------------------------------------------------------------

    @override
    @_in_its_span
    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Have a tool chosen, call it, and give its output: the agent does not hear of it."""
        return super().predict_and_call(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            error_on_no_tool_call,
            error_on_tool_error,
            **{ALONE: CALLS, **kwargs},
        )

    @override
    @_in_its_span
    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """`predict_and_call` for the event loop."""
        return await super().apredict_and_call(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            error_on_no_tool_call,
            error_on_tool_error,
            **{ALONE: CALLS, **kwargs},
        )

    @override
    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """`chat_with_tools` as a stream, which the API does not cut (contract, *AgentRequest*)."""
        chunks = super().stream_chat_with_tools(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            tool_required,
            **kwargs,
        )
        wants_form = kwargs.get(ALONE) == FORM
        return formed(chunks, parallel=allow_parallel_tool_calls) if wants_form else chunks

    @override
    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """`stream_chat_with_tools` for the event loop."""
        chunks = await super().astream_chat_with_tools(
            tools,
            user_msg,
            chat_history,
            verbose,
            allow_parallel_tool_calls,
            tool_required,
            **kwargs,
        )
        wants_form = kwargs.get(ALONE) == FORM
        return aformed(chunks, parallel=allow_parallel_tool_calls) if wants_form else chunks

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        choice = kwargs.pop("tool_choice", None)
        offered = prepared(
            tools,
            conversation(chat_history, user_msg),
            choice=choice,
            required=tool_required or kwargs.get(ALONE) == FORM,
            parallel=allow_parallel_tool_calls,
        )
        return {**kwargs, **offered}

    @override
    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        # In a conversation all calls are shown, since the agent waits for all their outputs.
        is_one_too_many = kwargs.get(ALONE) and not allow_parallel_tool_calls
        return single(response) if is_one_too_many else response

    @override
    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls in an answer of `chat_with_tools`.

        Raises:
            ValueError: There is none, and ``error_on_no_tool_call`` is true.
        """
        return selections(response, needed=error_on_no_tool_call)
