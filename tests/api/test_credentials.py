from __future__ import annotations

import copy
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from stewrd_integrations.api import AsyncStewrdClient, StewrdClient
from stewrd_integrations.api.credentials import ApiKey, check_base_url, is_loopback
from stewrd_integrations.errors import ConfigurationError

from .conftest import KEY

BAD = [
    *("sk-stw_bad key", "sk-stw_bad\nkey", "sk-stw_badé", "sk-stw_bad\x00", "sk-stw_\u200bbad"),
    *('"sk-stw_bad"', "'sk-stw_bad'", "sk-stw_bad`", "Bearer sk-stw_bad"),
]


@pytest.mark.parametrize(
    "source", [KEY, f"  {KEY}\n", SecretStr(KEY), lambda: KEY, lambda: SecretStr(KEY), ApiKey(KEY)]
)
def test_where_a_key_can_come_from(source: Any) -> None:
    key = ApiKey(source)
    key.check()
    assert key.reveal() == KEY
    assert KEY not in f"{key!r} {key!s}"
    assert repr(key) == "ApiKey('**********')"


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_API_KEY", KEY)
    assert ApiKey().reveal() == KEY
    assert ApiKey("other").reveal() == "other"


@pytest.mark.parametrize("source", [None, "", "  ", lambda: None, lambda: 7, SecretStr("")])
def test_a_missing_key_says_what_to_do(source: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"STEWRD_API_KEY.*api_key") as caught:
        ApiKey(source).reveal()
    assert "run `python -m stewrd_integrations.emulator`" in (caught.value.advice or "")


def test_a_callable_is_asked_each_time_and_not_at_first() -> None:
    keys = iter(["one", "two"])
    key = ApiKey(lambda: next(keys))
    key.check()
    assert [key.reveal(), key.reveal()] == ["one", "two"]


def locals_of(error: BaseException) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals["__name__"].startswith("stewrd_integrations"):
            yield from (repr(v) for n, v in frame.f_locals.items() if n != "self")
            yield from (repr(vars(v)) for v in frame.f_locals.values() if hasattr(v, "__dict__"))


MAKERS: list[Callable[[Any], Any]] = [
    lambda key: StewrdClient(api_key=key),
    lambda key: AsyncStewrdClient(api_key=key),
    lambda key: ApiKey(key).reveal(),
    lambda key: ApiKey(lambda: key).reveal(),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_key_is_in_nothing_that_is_raised(make: Any, bad: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(bad)
    error = caught.value
    assert error.__cause__ is None and error.__context__ is None
    shown = [str(error), repr(error), repr(error.args), repr(vars(error)), *locals_of(error)]
    assert not [text for text in shown if "bad" in text or "sk-stw" in text]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ('"sk-stw_bad"', "has quotation marks around it.* Take them off"),
        ("sk-stw_bad'", "has quotation marks around it.* Take them off"),
        ("bearer sk-stw_bad", 'begins with "Bearer".* Copy it again'),
        ("sk-stw_bad key", "holds a space.* Copy it again"),
    ],
)
def test_a_bad_key_says_what_is_wrong_and_what_to_do(key: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ApiKey(key).check()


@pytest.mark.parametrize("thing", [ApiKey(KEY), StewrdClient(api_key=KEY)])
def test_no_pickle_holds_the_key(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="Set STEWRD_API_KEY"):
        pickle.dumps(thing)


def test_copies_are_the_same() -> None:
    key = ApiKey(KEY)
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        (None, "https://api.stewrd.dev"),
        ("", "https://api.stewrd.dev"),
        ("https://api.stewrd.dev//", "https://api.stewrd.dev"),
        ("HTTPS://API.stewrd.dev", "https://api.stewrd.dev"),
        ("https://proxy.example/Stewrd/", "https://proxy.example/Stewrd"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80", "http://[::1]:80"),
        (" https://api.stewrd.dev \n", "https://api.stewrd.dev"),
        ("  ", "https://api.stewrd.dev"),
        ("https://gateway.example/v1/stewrd", "https://gateway.example/v1/stewrd"),
        ("https://gateway.example/v12", "https://gateway.example/v12"),
    ],
)
def test_base_urls(url: str | None, checked: str) -> None:
    assert check_base_url(url) == checked


@pytest.mark.parametrize(
    "url",
    [
        "http://api.stewrd.dev",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://[::2]",
        "http://0.0.0.0",
        "ftp://localhost",
        "api.stewrd.dev/x",
        "https:///x",
        "https://user:pass@api.stewrd.dev",
        "https://api.stewrd.dev?x=1",
        "https://api.stewrd.dev/#",
        "https://api.stewrd.dev:99999",
        "https://[::1",
        "https://a b",
        "https://a\n.example",
        "https://a\\b",
        "https://é.example",
        7,
    ],
)
def test_base_urls_that_are_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        check_base_url(url)
    assert str(url) not in caught.value.message
    assert caught.value.__context__ is None


@pytest.mark.parametrize("path", ["/v1", "/v1//", "/x/v1", "/v1/agent", "/v1/sessions/"])
def test_a_base_url_with_the_version_in_it(path: str) -> None:
    end = path[path.index("/v1") :].rstrip("/")
    told = f"base_url ends with {end}, which the client adds by itself. Pass base_url "
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        check_base_url(f"https://api.stewrd.dev{path}")


def test_base_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_BASE_URL", "http://localhost:1/")
    assert StewrdClient(api_key=KEY).base_url == "http://localhost:1"
    assert StewrdClient(api_key=KEY, base_url="https://x.example").base_url == "https://x.example"


def test_loopback() -> None:
    assert is_loopback("127.0.0.1")
    assert not is_loopback("nonsense")


def test_a_blank_address_leaves_the_environments_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STEWRD_BASE_URL", " https://gateway.example ")
    assert check_base_url("  ") == "https://gateway.example"


def test_an_async_callable_is_refused_by_name() -> None:
    async def from_a_vault() -> str:
        return "k"

    with pytest.raises(ConfigurationError, match="async function") as caught:
        ApiKey(from_a_vault).reveal()  # type: ignore[arg-type]  # on purpose
    assert "gives the key at once" in str(caught.value)
