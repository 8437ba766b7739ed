from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator import Settings
from stewrd_integrations.emulator.streams import broken_off, chunks, events

from .conftest import sse

BODY: dict[str, Any] = {
    "id": "r1",
    "message": "Grüße, Ada!  ☕ ",
    "files": [],
    "capabilities_used": ["research", "chat", "data"],
    "usage": {"credits_this_request": 4, "credits_remaining": 6, "tokens_used": 9},
    "meta": {"duration_ms": 5},
}


def told(**changes: Any) -> list[tuple[str, Any]]:
    settings = Settings(**changes)
    return sse(b"".join(chunks(settings, events(settings, BODY))))


@pytest.mark.parametrize("split", ["words", "characters", "whole"])
@pytest.mark.parametrize("key", ["text", "content"])
def test_tokens_add_up_to_the_message(split: str, key: str) -> None:
    got = told(token_split=split, token_key=key)
    assert "".join(data[key] for name, data in got if name == "token") == BODY["message"]


def test_no_tokens_of_an_empty_message() -> None:
    settings = Settings(token_split="whole", extra_fields=False)
    empty = BODY | {"message": "", "capabilities_used": []}
    assert [event.name for event in events(settings, empty)] == ["done"]


def test_tools_stand_around_the_tokens() -> None:
    names = [(name, data.get("tool")) for name, data in told(token_split="whole")]
    assert names == [
        ("tool_start", "research"),
        ("tool_start", "data"),
        ("token", None),
        ("tool_end", "data"),
        ("tool_end", "research"),
        ("trace", None),
        ("done", None),
    ]


def test_done_live() -> None:
    assert told()[-1][1] == {
        "request_id": "r1",
        "message": BODY["message"],
        "files": [],
        "duration_ms": 5,
        "tokens_used": 9,
    }


def test_done_documented() -> None:
    done = told(done="documented")[-1][1]
    assert done["usage"] == BODY["usage"]
    assert done["request_id"] == "r1"


def test_done_nested() -> None:
    done = told(done="nested")[-1][1]
    assert done["usage"] == BODY["usage"]
    assert done["response"] == {key: value for key, value in BODY.items() if key != "usage"}


@pytest.mark.parametrize("done", ["live", "documented", "nested"])
def test_done_without_usage(done: str) -> None:
    settings = Settings(done=done)  # type: ignore[arg-type]
    last = events(settings, {key: value for key, value in BODY.items() if key != "usage"})[-1]
    assert not {"usage", "tokens_used"} & set(last.data)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_endings(newline: str) -> None:
    settings = Settings(newline=newline)  # type: ignore[arg-type]
    raw = b"".join(chunks(settings, events(settings, BODY))).decode()
    assert raw.endswith(newline * 2)
    assert set(raw) & {"\r", "\n"} == set(newline)
    assert sse(raw.encode()) == told()


def test_keep_alive_comments_change_nothing() -> None:
    settings = Settings(keep_alive=True)
    raw = chunks(settings, events(settings, BODY))
    assert all(piece.startswith(b": keep-alive\n\n") for piece in raw)
    assert told(keep_alive=True) == told()


def test_no_final_blank_line() -> None:
    settings = Settings(final_blank_line=False)
    raw = b"".join(chunks(settings, events(settings, BODY)))
    assert raw.endswith(b"}\n") and not raw.endswith(b"\n\n")


def test_pieces_of_bytes() -> None:
    settings = Settings(chunk_bytes=3)
    pieces = chunks(settings, events(settings, BODY))
    assert {len(piece) for piece in pieces[:-1]} == {3}
    assert sse(b"".join(pieces)) == told()


def test_no_unknown_event_if_not_wanted() -> None:
    assert "trace" not in [name for name, _ in told(extra_fields=False)]


@pytest.mark.parametrize(
    ("tokens", "names"), [(0, ["start", "start"]), (1, ["start", "start", "token"])]
)
def test_broken_off(tokens: int, names: list[str]) -> None:
    got = broken_off(events(Settings(), BODY), tokens, "compute_error")
    assert [event.name.removeprefix("tool_") for event in got] == [*names, "error"]
    assert got[-1].data == {
        "code": "compute_error",
        "message": "The compute service failed.",
    }


def test_broken_off_with_a_code_of_ones_own_and_never_with_done() -> None:
    got = broken_off(events(Settings(), BODY), 99, "odd")
    assert got[-1].data["code"] == "odd"
    assert "done" not in [event.name for event in got]
