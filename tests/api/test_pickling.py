"""What of a model's options travels in a pickle, and what is found again."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from cryptography.fernet import Fernet

from stewrd_integrations.api.pickling import LeftOut, portable, restored
from stewrd_integrations.errors import ConfigurationError
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.sqlite import SQLiteStore

SECRET = "hunter2"  # no secret: nothing here may look like one


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEWRD_STORE", raising=False)
    monkeypatch.delenv("STEWRD_DEFAULT_HEADERS", raising=False)


@pytest.mark.parametrize(
    "store",
    [
        None,
        "memory://",
        "sqlite:///a.db",
        "sqlite:////home/a@b/x.db?namespace=key",
        "redis://localhost:6379/0",
        "redis://localhost?socket_timeout=3&namespace=a",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_a_store_without_a_secret_travels(store: str | None) -> None:
    options = {"store": store, "timeout": 5, "default_headers": None}
    assert portable(options) == restored(portable(options)) == options


@pytest.mark.parametrize(
    "store",
    [
        f"redis://:{SECRET}@localhost",
        f"rediss://user:{SECRET}@localhost:1/2?namespace=a",
        f"redis://localhost?password={SECRET}",
        f"unix:///run/redis.sock?db=2&PASSWORD={SECRET}",
        f"rediss://localhost?ssl_password={SECRET}",
        f"redis://localhost?auth_token={SECRET}",
    ],
)
def test_a_store_with_a_secret_stays_behind(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = portable({"store": store})
    assert SECRET not in repr(pickle.dumps(kept))
    assert portable(kept) == kept, "also if it is pickled on"
    with pytest.raises(ConfigurationError, match="STEWRD_STORE"):
        restored(kept)
    monkeypatch.setenv("STEWRD_STORE", "memory://")
    assert restored(kept) == {"store": "memory://"}


def test_stores_that_are_objects(tmp_path: Any) -> None:
    plain, memory = SQLiteStore(tmp_path / "a.db"), MemoryStore()
    assert portable({"store": plain})["store"] is plain
    assert portable({"store": memory})["store"] is memory
    sealed = SQLiteStore(tmp_path / "b.db", encryption_key=Fernet.generate_key())
    assert portable({"store": sealed})["store"] == LeftOut("store")


def test_the_values_of_headers_stay_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = portable({"default_headers": {"X-Key": SECRET, "A": "b"}})
    assert SECRET not in repr(pickle.dumps(kept))
    assert portable(kept) == kept
    for told in ("", "{", "[]", '{"X-Key": "x"}'):
        monkeypatch.setenv("STEWRD_DEFAULT_HEADERS", told)
        with pytest.raises(ConfigurationError, match=r"A, X-Key.* STEWRD_DEFAULT_HEADERS"):
            restored(kept)
    monkeypatch.setenv("STEWRD_DEFAULT_HEADERS", '{"x-key": "new", "A": "c"}')
    assert restored(kept) == {"default_headers": {"x-key": "new", "A": "c"}}


def test_keys_and_clients_stay_behind() -> None:
    options = {"api_key": SECRET, "http_client": object(), "http_async_client": object(), "a": 1}
    assert portable(options) == {
        "api_key": None,
        "http_client": None,
        "http_async_client": None,
        "a": 1,
    }
