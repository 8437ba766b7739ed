"""The emulator, asked what the vendor's pages ask, answers in the form that they show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from stewrd_integrations.emulator import Answer, Call, Context, Emulator
from stewrd_integrations.emulator.agent import File

from .shapes import shape, stream_shape, without_optional
from .tape import Interaction, events, interactions, media_type_of, name_of, paths

PLAIN: dict[str, Any] = {"extra_fields": False}
FORMS: dict[str, dict[str, Any]] = {
    # The page on sessions shows answers without a status.
    "session": {"omit_status": True},
    "plan_restricted": {"plan": "free"},
    "agent": {},
    "tool_round": {},
    "stream_content": {"token_key": "content", "done": "documented"},
    "stream_text": {"token_key": "text", "done": "live"},
    "stream_nested": {"token_key": "content", "done": "nested"},
    "stream_error": {"token_key": "content"},
}
"""How the emulator is set to each page's form."""
_IDS = ("id", "_compute_instance")


def agent_of(told: list[Interaction]) -> Callable[[Context], Answer]:
    """An agent that answers what the page says, with the same capabilities, files and calls."""
    answers = iter([_answer(each) for each in told if each.request and each.status == 200])
    return lambda context: next(answers)


def _answer(told: Interaction) -> Answer:
    if told.media_type == "text/event-stream":
        return Answer("A library opened.", capabilities_used=("research",))
    body = told.answered
    files = [File(each["name"], each.get("content"), each.get("url")) for each in body["files"]]
    calls = [Call(each["name"], each["arguments"]) for each in body.get("tool_calls", [])]
    used = tuple(body["capabilities_used"])
    return Answer(body.get("message", ""), tuple(files), used, calls)


class Player:
    """Sends the requests of a page to an emulator; the page's ids become the emulator's."""

    def __init__(self, emulator: Emulator) -> None:
        headers = {"Authorization": f"Bearer {emulator.api_key}"}
        self._http = httpx.Client(base_url=emulator.url, headers=headers, trust_env=False)
        self._ids: dict[str, str] = {}

    def send(self, told: Interaction) -> httpx.Response:
        """One request of the page."""
        headers = {"Content-Type": "application/json"} if told.request else {}
        content = self._own(told.request)
        response = self._http.request(
            told.method, self._own(told.path), content=content, headers=headers
        )
        if media_type_of(response.headers["content-type"]) == "application/json":
            self._learn(told.answered, response.json())
        return response

    def _own(self, text: str) -> str:
        for page, own in self._ids.items():
            text = text.replace(page, own)
        return text

    def _learn(self, page: Any, own: Any) -> None:
        for name in _IDS:
            if name in page:
                self._ids[page[name]] = own[name]
        for ours, theirs in zip(page.get("tool_calls", []), own.get("tool_calls", []), strict=True):
            self._ids[ours["id"]] = theirs["id"]

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


@pytest.mark.parametrize("path", paths("vendor_page"), ids=name_of)
def test_every_page(path: Path) -> None:
    told = interactions(path)
    settings = {**PLAIN, **FORMS[path.stem]}
    with Emulator(agent=agent_of(told), **settings) as emulator, Player(emulator) as player:
        for each in told:
            if path.stem == "stream_error" and each.request:
                emulator.fail_next("stream_error", on="send", chunks=2)
            compare(each, player.send(each))


def compare(page: Interaction, own: httpx.Response) -> None:
    assert own.status_code == page.status
    assert media_type_of(own.headers["content-type"]) == page.media_type
    if page.media_type == "text/event-stream":
        assert stream_shape(events(own.text)) == stream_shape(page.events)
    elif page.status >= 400:
        assert shape(without_optional(own.json())) == shape(without_optional(page.answered))
        assert own.json()["error"]["code"] == page.answered["error"]["code"]
        assert own.json()["error"]["message"] == page.answered["error"]["message"]
    else:
        assert shape(own.json()) == shape(page.answered)
        for name in ("object", "status", "message", "files", "capabilities_used"):
            assert own.json().get(name) == page.answered.get(name)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"token_key": "text"}, "stream_content"),
        ({"done": "live"}, "stream_content"),
        ({"done": "nested"}, "stream_text"),
        ({"omit_status": False}, "session"),
        ({"usage": "legacy"}, "agent"),
        ({"calls_message": "null"}, "tool_round"),
        ({"compute_instance": "none"}, "tool_round"),
        ({"error_shape": "flat"}, "plan_restricted"),
    ],
    ids=str,
)
def test_another_form_is_noticed(
    changes: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = [each for each in paths("vendor_page") if each.stem == name]
    monkeypatch.setitem(FORMS, name, {**FORMS[name], **changes})
    with pytest.raises((AssertionError, KeyError)):
        test_every_page(path)
