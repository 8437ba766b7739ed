"""Bindings and notes that others have spoilt: well-formed JSON with something wrong in it."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from stewrd_integrations.errors import StoreError
from stewrd_integrations.sessions.binding import DAY, Binding
from stewrd_integrations.sessions.effects import NoteState
from stewrd_integrations.sessions.notes import Arrival, arrive
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from stewrd_integrations.testing.chapter import binding
from tests.redis_server import RedisServer, require

SOUND = json.loads(binding("1", "k").to_json())
ODD: tuple[Any, ...] = (True, None, -1, 1.5, "5", {}, {"a": 1}, [5, None], float("nan"), 1e999)
FITTING: dict[str, tuple[Any, ...]] = {
    "run": (None,),
    "covered": ({},),
    "bool": (True,),
    "str | None": (None, "5"),
    "str": ("5",),
    "float": (-1, 1.5),
}
"""Which of them fit after all."""

KINDS = {
    "session_id": "str | None",
    "compute_instance": "str | None",
    **{name: name for name in ("run", "covered")},
    **dict.fromkeys(("provisional", "plain", "on_session"), "bool"),
    **dict.fromkeys(("sent_at", "answered_at", "deadline"), "float"),
    **dict.fromkeys(("id", "tip_mark", "instructions", "base", "first", "request_id"), "str"),
    **dict.fromkeys(("offered", "rolled", "demanded", "refused"), "str"),
}


def misfits() -> Iterator[tuple[str, str]]:
    """The binding with one wrong value in it, for each field and each kind of value."""
    places: list[tuple[str, ...]] = [(name,) for name in SOUND if name != "schema"]
    places += [(outer, name) for outer in ("covered", "run") for name in SOUND[outer]]
    for place in places:
        fits = FITTING.get(KINDS.get(place[-1], ""), ())
        for value in ODD:
            if not any(repr(value) == repr(each) for each in fits):
                yield f"{'.'.join(place)}={value}", spoilt(place, value)
    for place in ((), ("covered",), ("run",)):
        yield f"more in {place}", spoilt((*place, "more"), 1)
    for name in ("id", "session_id", "covered"):
        yield f"no {name}", json.dumps({key: SOUND[key] for key in SOUND if key != name})


def spoilt(place: tuple[str, ...], value: object) -> str:
    whole = json.loads(json.dumps(SOUND))
    inner = whole
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return json.dumps(whole)


MISFITS = dict(misfits())


@pytest.mark.parametrize("text", MISFITS.values(), ids=MISFITS)
def test_a_binding_with_a_wrong_value_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="binding"):
        Binding.from_json(text)


def test_what_has_a_default_may_be_missing() -> None:
    bare = {name: SOUND[name] for name in ("schema", "id", "session_id", "covered")}
    found = Binding.from_json(json.dumps(bare))
    assert found == Binding("1", "session-1", binding("1").covered)


# -- in the stores ---------------------------------------------------------------------------


class Spoiler:
    """A store, and how somebody else writes into what it keeps."""

    def __init__(self, store: Any, binding: Callable[[str], object], note: Callable[[str], object]):
        self.store, self.binding, self.note = store, binding, note


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    require()
    with RedisServer() as running:
        yield running


@pytest.fixture(params=["SQLite", "Redis"])
def spoiler(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spoiler]:
    if request.param == "SQLite":
        yield of_sqlite(tmp_path / "store.db")
        return
    server, namespace = request.getfixturevalue("server"), uuid.uuid4().hex
    store = RedisStore(server.url, namespace=namespace, timeout=30.0)
    with redis.Redis.from_url(server.url) as raw:
        yield of_redis(store, raw, f"stewrd:{{{namespace}}}:")
    store.close()


def of_sqlite(path: Path) -> Spoiler:
    def write(table: str, text: str) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(f"UPDATE {table} SET body = ?", (text,))  # noqa: S608 - a name of ours

    return Spoiler(
        SQLiteStore(path), lambda text: write("bindings", text), lambda text: write("notes", text)
    )


def of_redis(store: RedisStore, raw: Any, start: str) -> Spoiler:
    def write_binding(text: str) -> None:
        for name in raw.keys(f"{start}b:*"):
            raw.hset(name, "binding", text)

    def write_note(text: str) -> None:
        for name in raw.keys(f"{start}n:*"):
            raw.set(name, text)

    return Spoiler(store, write_binding, write_note)


@pytest.mark.parametrize("place", [("sent_at",), ("covered", "base_count"), ("run", "calls")])
def test_it_is_told_of_and_never_continued(spoiler: Spoiler, place: tuple[str, ...]) -> None:
    store = spoiler.store
    store.put(binding("1", "k"), DAY)
    spoiler.binding(spoilt(place, "yesterday"))
    for ask in (store.peek, store.take):
        with pytest.raises(StoreError, match="can't be read"):
            ask(("k",))
    assert store.take(("k",)) is None, "it was in the way once"


@pytest.mark.parametrize(
    "kept", [{"answers": 5}, {"answers": [["a"]]}, {"until": "x", "call": "y"}]
)
def test_a_note_over_which_a_change_stumbles_is_begun_anew(
    spoiler: Spoiler, kept: NoteState
) -> None:
    store = spoiler.store
    store.note("n", dict)
    spoiler.note(json.dumps(kept))
    arrival = Arrival("call", "digest", frozenset({"pair"}), now=1_000.0, until=1_010.0)
    note = store.note("n", arrive(arrival))
    assert (note["call"], note["until"]) == ("call", 1_010.0)
    assert store.note("n") == note
    with pytest.raises(KeyError):
        store.note("n", lambda note: note["nothing"])
    assert store.note("n") == note, "what a change raises of its own accord changes nothing"
