"""A store by its URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from stewrd_integrations import open_store
from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from tests.redis_server import RedisServer, require

require()


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/a.db"
        return
    with RedisServer() as server:
        yield server.url


def test_what_is_asked_for_reaches_the_store(url: str) -> None:
    key = Fernet.generate_key()
    store = open_store(url, namespace="mine", encryption_key=key, transcript_ttl=60)
    keyless, other = open_store(url, namespace="mine"), open_store(url)
    store.append("c", ["a line"])
    assert store.load("c") == ["a line"]
    with pytest.raises(StoreError, match="opened without a key"):
        keyless.load("c")
    assert other.load("c") == []
    (kept,) = store.inventory().transcripts
    assert kept.left is not None and 0 < kept.left <= 60
    for each in (store, keyless, other):
        each.close()


def test_whoever_asks_for_the_same_gets_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    assert open_store(url) is open_store(url)
    assert open_store(url) is open_store(f"{url}?namespace=default")
    assert open_store(url) is not open_store(f"{url}?namespace=other")
    assert open_store(url) is not open_store(url, transcript_ttl=60)
    assert open_store(f"{url}?transcript_ttl=60") is open_store(url, transcript_ttl=60.0)
    key = Fernet.generate_key()
    assert open_store(url, encryption_key=key) is open_store(url, encryption_key=[key])
    assert open_store(url, encryption_key=key) is not open_store(url)
    assert list(tmp_path.iterdir()) == [], "opening makes nothing"


def test_three_slashes_are_relative_and_four_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    near, far = open_store("sqlite:///a%20b.db"), open_store(f"sqlite:///{tmp_path}/a b.db")
    assert near is far
    assert isinstance(near, SQLiteStore)
    near.append("c", ["line"])
    assert (tmp_path / "a b.db").exists()
    near.close()


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_STORE", f"sqlite:///{tmp_path}/env.db")
    assert isinstance(open_store(), SQLiteStore)


def test_an_error_names_the_variable_that_the_url_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STEWRD_STORE", "mysql://ada:secret@host")
    with pytest.raises(ConfigurationError, match=r"STEWRD_STORE.*unknown scheme.*Use") as caught:
        open_store()
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        open_store("mysql://host")
    assert "STEWRD_STORE" not in str(caught.value)


def test_redis_is_not_reached_before_it_is_used() -> None:
    store = open_store("redis://ada:secret@127.0.0.1:1/0?namespace=a.b&socket_timeout=2")
    assert isinstance(store, RedisStore)
    assert "secret" not in repr(store)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://host/a.db", "names no file"),
        ("sqlite:///a.db?sync=off", "unknown settings: sync"),
        ("sqlite:///a.db?transcript_ttl=day", "not a number of seconds"),
        ("sqlite:///a.db?transcript_ttl=-1", "above 0"),
        ("sqlite:///a.db?namespace=", "namespace="),
        ("sqlite:///a.db?namespace=a%20b", "namespace="),
        ("mysql://ada:secret@host", "unknown scheme"),
        ("redis://ada:secret@host:port/0", ""),
        ("nonsense", "unknown scheme"),
        ("memory://?x=secret", "takes no settings"),
        ("redis://localhost?colour=secret", "unknown setting: colour"),
        ("unix:///run/redis.sock?colour=secret", "unknown setting: colour"),
        ("redis://:12?colour=secret@localhost:6379/0", "malformed"),
    ],
)
def test_a_url_that_can_not_be_used(url: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert wrong in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["secret", b"secret", [], ["x" * 44], [Fernet.generate_key(), "s"]])
def test_a_malformed_key_is_refused_without_showing_it(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(f"sqlite:///{tmp_path}/a.db", encryption_key=key)
    assert "secret" not in str(caught.value)
    assert "xxxx" not in str(caught.value)


def test_memory_takes_no_settings() -> None:
    with pytest.raises(ConfigurationError, match="takes no settings"):
        open_store("memory://", transcript_ttl=60)


def test_a_path_may_have_any_character(tmp_path: Path) -> None:
    one, two = (open_store(f"sqlite:///{tmp_path}/app#{name}.db") for name in ("a", "b"))
    assert isinstance(one, SQLiteStore) and isinstance(two, SQLiteStore)
    assert one.path.endswith("app#a.db") and two.path.endswith("app#b.db")
