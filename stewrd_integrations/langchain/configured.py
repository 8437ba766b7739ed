"""The options of `ChatStewrd`, and making, copying and pickling a model with them.

The key is masked as soon as it arrives, and leaves the model on no other way than requests.
"""

from __future__ import annotations

import copy
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.caches import BaseCache
from langchain_core.utils import secret_from_env
from pydantic import Field, PrivateAttr, SecretStr, StrictInt, ValidationError
from typing_extensions import Self

from ..api.calls import STALL
from ..api.credentials import ApiKey, Secret
from ..api.pickling import portable, restored
from ..errors import ConfigurationError
from ..options import OPTION_NAMES, Options, advice_on, wrong_options
from ..runtime import Runtime
from ..types import Message
from .entrances import AddressedChatModel

KEY_VARIABLE = "STEWRD_API_KEY"
_key_from_env = secret_from_env(KEY_VARIABLE, default=None)


class ConfiguredChatModel(AddressedChatModel):
    """A chat model with the options of Stewrd, and the `Runtime` that they make."""

    api_key: str | SecretStr | Callable[[], str | SecretStr] | None = Field(
        default_factory=_key_from_env,
        exclude=True,
        repr=False,
        description="The project's key, or a callable that is asked for it at each request.",
    )
    base_url: str | None = Field(
        default=None, description="Address of the API: https, or http on this machine."
    )
    capabilities: Sequence[str] | None = Field(
        default=None, description="What the agent may use; None for all that the project allows."
    )
    conversation_id: str | StrictInt | uuid.UUID | None = Field(
        default=None, description="Name of the conversation; None for lists without a name."
    )
    tenant: str | StrictInt | uuid.UUID | None = Field(
        default=None, description="Whose conversations these are; tenants never meet."
    )
    sessions: Literal["auto", "always", "never"] = Field(
        default="auto", description="When a session is opened."
    )
    store: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        description="A store or its URL, which remembers the session that heard a conversation.",
    )
    match_by_content: bool = Field(
        default=True, description="Whether a list without name and marks is known by its content."
    )
    on_trim: Literal["continue", "replay"] = Field(
        default="continue", description="What to do when old messages were trimmed away."
    )
    on_instructions_change: Literal["continue", "replay"] = Field(
        default="continue", description="What to do when the system messages changed."
    )
    on_session_limit: Literal["stateless", "error"] = Field(
        default="stateless", description="What to do when no session can be opened."
    )
    on_store_error: Literal["stateless", "error"] = Field(
        default="stateless", description="What to do when the store fails."
    )
    max_active_sessions: int = Field(
        default=10, description="Sessions that the project may hold at once."
    )
    session_message_limit: int = Field(
        default=50, description="Messages that a session may hold, answers included."
    )
    idle_timeout: float = Field(
        default=1_800.0, description="Seconds without a message after which a session dies."
    )
    recap: Literal["window"] | Callable[[Sequence[Message]], Any] = Field(
        default="window",
        exclude=True,
        repr=False,
        description='How a replay tells older messages: "window" leaves them out and says how '
        "many, a callable returns their summary.",
    )
    max_credits: float | None = Field(
        default=None,
        description="Credits that this model object may spend; it stops before a request that "
        "could pass them.",
    )
    replay_budget: int = Field(default=100_000, description="Characters that a replay may have.")
    retry_on_compute_error: bool = Field(
        default=False,
        description="Whether a turn that failed with a refund is said again in a new session.",
    )
    tool_reserve: int = Field(
        default=6, description="Messages kept free in a session for rounds of tools."
    )
    timeout: float | None = Field(
        default=600.0, description="Seconds that a request may take; None for no limit."
    )
    stall_timeout: float | None = Field(
        default=STALL,
        description="Seconds that a stream may say nothing; None for no limit but timeout.",
    )
    max_retries: int = Field(
        default=2, description="How often a request that did no work is sent again."
    )
    http_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.Client to use."
    )
    http_async_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.AsyncClient to use."
    )
    default_headers: Mapping[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Headers to send with each request."
    )
    stop: list[str] | None = Field(
        default=None, description="Texts at which an answer ends, unless the call names others."
    )
    streaming: bool = Field(
        default=False, description="Whether invoke streams, for the sake of callbacks."
    )
    # A cached answer carries its old mark, and its turn is missing from the session.
    cache: BaseCache | bool | None = Field(
        default=False, exclude=True, description="Whether answers are cached."
    )

    _made: Runtime | None = PrivateAttr(default=None)
    _former: Runtime | None = PrivateAttr(default=None)

    # -- making and copying ------------------------------------------------------------

    if not TYPE_CHECKING:  # to a type checker, the fields are the keyword arguments

        def __init__(self, **options: Any) -> None:
            # From here on, no frame holds the key in a form that shows it.
            options |= {"api_key": _masked(options.pop("api_key", None))}
            if options["api_key"] is None:
                del options["api_key"]
            unknown = _first_unknown(options, type(self))
            if unknown is not None:
                options.clear()  # the key may be among them, under another name
                raise ConfigurationError(
                    f"{type(self).__name__} has no option {unknown!r}.",
                    advice=advice_on(unknown, type(self).model_fields),
                )
            problem = None
            try:
                super().__init__(**options)
            except ValidationError as error:
                problem = _told(error)
            if problem is not None:  # outside, since pydantic's error shows what it was given
                raise ConfigurationError(problem)
            self._made = self._make()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _masked(value) if name == "api_key" else value)
        if name in OPTION_NAMES:
            # What was spent stays spent, and what is known of content is this object's still.
            self._former, self._made = self._made or self._former, None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other options; clients and what is known of content are its own."""
        masked = {**(update or {})}
        if "api_key" in masked:
            masked["api_key"] = _masked(masked["api_key"])
        copied = super().model_copy(update=masked, deep=deep)
        copied._made = copied._former = None  # noqa: SLF001 - it is of this very class
        return copied

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._made = copied._former = None  # noqa: SLF001 - it is of this very class
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Clients, stores and callbacks can't be copied; both models use them.
        copied = self.__copy__()
        copied.metadata = copy.deepcopy(self.metadata, memo)
        copied.tags = copy.deepcopy(self.tags, memo)
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        kept = portable(state["__dict__"])
        return {**state, "__dict__": kept, "__pydantic_private__": {"_made": None, "_former": None}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self.api_key = _key_from_env()

    # -- connections -------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections of sync calls back; the next call makes new ones."""
        if self._made is not None:
            self._made.close()

    async def aclose(self) -> None:
        """Give the connections of sync and async calls back."""
        if self._made is not None:
            await self._made.aclose()

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

    @property
    def _runtime(self) -> Runtime:
        # Not `self._made`, which pydantic looks up in many steps: each call asks several times.
        made = (self.__pydantic_private__ or {}).get("_made")
        if made is None:
            # One alone, as it counts the credits, and knows its conversations by their content.
            with _Making.lock:
                made = (self.__pydantic_private__ or {}).get("_made")
                if made is None:
                    made = self._made = self._make()
        runtime: Runtime = made
        return runtime

    def _make(self) -> Runtime:
        options = restored({name: getattr(self, name) for name in OPTION_NAMES})
        made = Options(**{**options, "api_key": ApiKey(options.pop("api_key"))})
        return Runtime(made, self._former)


class _Making:
    lock = threading.RLock()


def _unlock() -> None:
    _Making.lock = threading.RLock()  # a thread that the child does not have may hold it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _masked(key: Any) -> Any:
    """A key that shows itself in no repr; whatever is no key is left to be refused."""
    if isinstance(key, SecretStr) or callable(key):
        return key
    if isinstance(key, str):
        return SecretStr(key)
    return SecretStr(key.get_secret_value()) if isinstance(key, Secret) else key


def _first_unknown(options: Mapping[str, Any], model: type[ConfiguredChatModel]) -> str | None:
    fields = model.model_fields
    unknown = (name for name, value in options.items() if name not in fields and value is not None)
    return next(unknown, None)


def _told(error: ValidationError) -> str:
    """What pydantic found, without the values that it was given."""
    return wrong_options(
        error.errors(include_url=False, include_context=False, include_input=False)
    )
