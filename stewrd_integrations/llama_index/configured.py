"""A model of LlamaIndex with Stewrd's options: made, copied, pickled and closed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from llama_index.core.base.llms.types import LLMMetadata, MessageRole
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from typing_extensions import Self

from ..api.calls import STALL
from ..api.credentials import ApiKey, KeySource
from ..api.pickling import portable, restored
from ..errors import ConfigurationError
from ..options import OPTION_NAMES, Options, advice_on, wrong_options
from ..runtime import Runtime
from ..sessions.call import SessionsPolicy

CONTEXT_WINDOW = 1_000_000
"""Tokens. A small one makes LlamaIndex's memories cut histories that a session holds anyway."""

CHARACTERS_PER_TOKEN = 5
"""More than a token of any usual text has, so that what fits in tokens fits in characters."""

_OF_THIS_PROCESS = ("callback_manager", "rate_limiter")


class ConfiguredLLM(FunctionCallingLLM):
    """The options that `StewrdLLM` documents, and the runtime that they make."""

    # Validators of so many fields are made for the first object, not for the import of each class.
    model_config = ConfigDict(defer_build=True)

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
    stall_timeout: float | None = Field(default=STALL, frozen=True)
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
        names = ", ".join(map(repr, sorted(unknown)))
        problem = f"{type(self).__name__} has no option {names}." if unknown else None
        advice = advice_on(min(unknown), {*fields, "api_key"}) if unknown else ""
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
            raise ConfigurationError(problem, advice=advice)
        self._key = key
        given = {name: getattr(self, name) for name in OPTION_NAMES if name != "api_key"}
        self._runtime = Runtime(Options(api_key=key, **given))

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "StewrdLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex wants to know about the model; windows are in tokens.

        ``num_output`` is no limit of an answer, but what is left of the window beside the
        longest prompt that may be sent.
        """
        # Memories look at the window alone. Prompt helpers fill what of it is not kept for the
        # answer, and are to divide a text that no single message could hold.
        room = min(self.replay_budget // CHARACTERS_PER_TOKEN, CONTEXT_WINDOW)
        return LLMMetadata(
            context_window=CONTEXT_WINDOW,
            num_output=CONTEXT_WINDOW - room,
            is_chat_model=True,
            # Tools and other capabilities exclude each other, so forms are then asked for in words.
            is_function_calling_model=set(self.capabilities or ()) <= {"chat"},
            model_name="stewrd-agent",
            system_role=MessageRole.SYSTEM,
        )

    # -- copies and pickles ------------------------------------------------------------

    def model_copy(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,  # noqa: ARG002  # pydantic's
    ) -> Self:
        """A new model with the same options but for those in ``update``.

        Its connections are its own; what a conversation is recognised by is in the store.

        Raises:
            ConfigurationError: An option is wrong or unknown.
        """
        given = {"api_key": self._key, **self._given(), **(update or {})}
        given["api_key"] = ApiKey(given["api_key"])
        del update
        return type(self)(**given)

    def __copy__(self) -> Self:
        return self.model_copy()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Clients hold locks and sockets, which can't be copied, and a store is meant to be shared.
        return self.model_copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # Without secrets, which are found in the environment where the model is built again.
        given = portable(self._given())
        for name in _OF_THIS_PROCESS:
            del given[name]
        return _rebuild, (type(self), given)

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def place(self) -> dict[str, Any]:
        """The options that a memory of the same conversations needs; they hold the key."""
        return {
            "api_key": self._key,
            "base_url": self.base_url,
            "store": self._runtime.store if self.store is None else self.store,
            "tenant": self.tenant,
        }

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Give the sync client's connections back; a later call opens new ones."""
        self._runtime.close()

    async def aclose(self) -> None:
        """Give the connections of both clients back; a later call opens new ones."""
        await self._runtime.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _rebuild(cls: type[ConfiguredLLM], given: dict[str, Any]) -> ConfiguredLLM:
    return cls(**restored(given))


def _without_values(error: ValidationError) -> str:
    """What is wrong, without what was passed: the key may have come under a wrong name."""
    return wrong_options(
        error.errors(include_url=False, include_context=False, include_input=False)
    )
