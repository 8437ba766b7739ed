"""Options, copies and pickles; and the key, which shows in none of them."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.load import dumpd, dumps, load
from pydantic import SecretStr

import stewrd_integrations
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError, StewrdError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.options import OPTION_NAMES, Options
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

Make = Callable[..., ChatStewrd]
KEY = "sk-stw_" + "s3cret" * 4
ADDRESS = "http://127.0.0.1:9"
OURS = str(Path(stewrd_integrations.__file__).parent)


def test_the_options_are_those_of_the_runtime() -> None:
    fields = ChatStewrd.model_fields
    defaults = {name: fields[name].default for name in OPTION_NAMES if name != "api_key"}
    plain = Options()
    assert defaults == {name: getattr(plain, name) for name in defaults}
    for name in OPTION_NAMES:
        assert fields[name].description, name
    assert fields["cache"].default is False


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.5},
        {"model": "x"},
        {"timeout": "soon"},
        {"timeout": -1},
        {"capabilities": "chat"},
        {"capabilities": ["magic"]},
        {"sessions": "sometimes"},
        {"conversation_id": True},
        {"conversation_id": " "},
        {"tenant": ["x"]},
        {"api_key": 5},
        {"max_active_sessions": -1},
        {"recap": "all"},
        {"on_trim": "cry"},
        {"store": "carrier-pigeon://"},
        {"default_headers": {"x": "\n"}},
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigurationError, match="store" if name == "store" else name) as caught:
        ChatStewrd(**{"api_key": KEY, "base_url": ADDRESS, **options})
    check_hygiene(caught.value)


def test_unknown_options_that_say_nothing_pass() -> None:
    options: dict[str, Any] = {"temperature": None}
    ChatStewrd(api_key=KEY, **options)


def test_names_may_be_numbers(make: Make, stewrd: Emulator) -> None:
    make(conversation_id=7, tenant=8).invoke("Hi")
    assert len(stewrd.sessions) == 1


def test_options_may_change_later(stewrd: Emulator, model: ChatStewrd) -> None:
    model.sessions = "never"
    assert model.invoke("Hi").response_metadata["road"] == "stateless"
    model.api_key = KEY
    assert isinstance(model.api_key, SecretStr)
    model.on_trim = "cry"  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="on_trim"):
        model.invoke("Hi")


# -- the key ---------------------------------------------------------------------------


def check_hygiene(error: BaseException) -> None:
    """The key is in no text of an error or its chain, and in no local of our frames."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        assert KEY not in str(link) + repr(link) + repr(link.args) + repr(vars(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename.startswith(OURS):
                for name, value in frame.f_locals.items():
                    assert KEY not in shown(value), (frame.f_code.co_name, name)
        link = link.__cause__ or link.__context__


def shown(value: Any) -> str:
    try:
        return repr(value)
    except AttributeError:  # an object that was refused before it was whole
        return ""


@pytest.mark.parametrize("source", [KEY, SecretStr(KEY), lambda: KEY], ids=["str", "secret", "ask"])
def test_the_key_shows_nowhere(source: Any) -> None:
    model = ChatStewrd(api_key=source, base_url=ADDRESS)
    texts = [
        repr(model),
        str(model),
        repr(model.__dict__),
        repr(vars(model)),
        repr(model.model_dump()),
        model.model_dump_json(),
        repr(list(model)),
        dumps(model),
        json.dumps(dumpd(model)),
        repr(model.to_json()),
        repr(model._get_invocation_params()),
        repr(model._identifying_params),
        repr(model.bind(conversation_id="c")),
    ]
    if not callable(source):
        texts.append(str(pickle.dumps(model)))
    assert not [text for text in texts if KEY in text]
    assert "api_key" not in model.model_dump()


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", KEY)
    for model in (ChatStewrd(), ChatStewrd(api_key=None)):
        assert isinstance(model.api_key, SecretStr)
        assert model.api_key.get_secret_value() == KEY


@pytest.mark.parametrize("given", [{}, {"api_key": None}, {"api_key": ""}])
def test_without_a_key(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    monkeypatch.delenv("STEWRD_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        ChatStewrd(**given)


@pytest.mark.parametrize("key", [KEY + " x", KEY + "\n\0", KEY + "ä"])
def test_a_malformed_key(key: str) -> None:
    with pytest.raises(ConfigurationError, match="API key") as caught:
        ChatStewrd(api_key=key)
    check_hygiene(caught.value)


async def test_errors_of_calls_do_not_show_the_key() -> None:
    with serve() as stewrd:
        model = ChatStewrd(api_key=KEY, base_url=stewrd.url)
        with pytest.raises(StewrdError) as sync:
            model.invoke("Hi")
        with pytest.raises(StewrdError) as streamed:
            list(model.stream("Hi"))
        with pytest.raises(StewrdError) as later:
            await model.ainvoke("Hi")
        await model.aclose()
    for caught in (sync, streamed, later):
        assert caught.value.status == 401
        check_hygiene(caught.value)


# -- copies, pickles and dumps ---------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, ChatStewrd.model_copy])
def test_copies_work_on_their_own(
    stewrd: Emulator, make: Make, copied: Callable[[ChatStewrd], ChatStewrd]
) -> None:
    model = make(tenant="a", tags=["x"])
    twin = copied(model)
    assert twin._runtime is not model._runtime
    with twin as open_twin:
        assert open_twin.invoke("Hi").text
    assert model.invoke("Hi").text
    assert twin.tenant == "a"


def test_a_deep_copy_shares_the_store(make: Make) -> None:
    store = MemoryStore()
    model = make(store=store, metadata={"x": []})
    twin = copy.deepcopy(model)
    assert twin.store is store
    assert twin.metadata == model.metadata and twin.metadata is not model.metadata


def test_a_changed_copy_is_another_model(stewrd: Emulator, model: ChatStewrd) -> None:
    never = model.model_copy(update={"sessions": "never"})
    never.invoke("Hi")
    model.invoke("Hi")
    assert [run.road for run in stewrd.runs] == ["stateless", "session"]


def test_a_pickle_takes_the_key_from_the_environment(
    stewrd: Emulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEWRD_API_KEY", raising=False)
    with httpx.Client() as http:
        pickled = pickle.dumps(make(tenant="a", http_client=http))
    lost = pickle.loads(pickled)  # noqa: S301 - our own
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        lost.invoke("Hi")
    monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)
    again = pickle.loads(pickled)  # noqa: S301 - our own
    with again:
        assert again.invoke("Hi").text
    assert again.tenant == "a" and again.http_client is None


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_dump_can_be_loaded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(capabilities=["chat"], conversation_id="c", on_trim="replay", timeout=5)
    dumped = dumpd(model)
    assert dumped["id"] == ["stewrd_integrations", "langchain", "ChatStewrd"]
    monkeypatch.setenv("STEWRD_API_KEY", KEY)
    again = load(
        dumped,
        allowed_objects=[ChatStewrd],
        valid_namespaces=["stewrd_integrations"],
        secrets_from_env=True,
    )
    assert again.model_dump() == model.model_dump()
    assert again.api_key.get_secret_value() == KEY
