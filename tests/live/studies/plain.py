"""What plain requests, streams, wrong requests and files are answered with."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from ..lab import HOW, Lab, Unclear, asking, repeated
from ..questions import Question, Study, anything, one_of, starts
from ..seen import Seen, fields


def _basics(lab: Lab) -> None:
    created = lab.create()
    if not created.ok:
        raise Unclear(f"no session could be opened: {created.refusal}")
    lab.found("create.status", str(created.status))
    lab.found("create.fields", fields(created.json))
    session = lab.share(created)
    told, never = lab.word(), lab.word()
    answer = lab.said(session, told.message)
    lab.found("answer.fields", fields(answer.json))
    lab.found("answer.status", answer.text_of("status") or "absent")
    lab.found("answer.usage", fields(answer.get("usage")))
    charged = answer.number_of("usage", "credits_this_request")
    lab.found("answer.credits", "not told" if charged is None else str(charged))
    asked = lab.said(session, asking(told))
    unasked = lab.said(session, asking(never))
    lab.remembers = repeated(asked, told) == (True,) and repeated(unasked, never) == (False,)
    lab.found("memory.control", "yes" if lab.remembers else "no", asked, unasked, how=HOW)


BASICS = Study(
    "basics",
    (
        Question(
            "create.status",
            "With which status is a session created?",
            "any status of success; 201 is documented",
            starts("2"),
            "creating fails: see api/responses.py",
        ),
        Question(
            "create.fields",
            "Which fields does a created session have?",
            "an id; all else is ignored",
            lambda value: "id" in value.split(", "),
            "creating fails: see read_session",
        ),
        Question(
            "answer.fields",
            "Which fields does the answer to a session's message have?",
            "a message; all else is optional, and what is unknown is ignored",
            lambda value: "message" in value.split(", "),
            "answers are refused as malformed",
        ),
        Question(
            "answer.status",
            "What is the status of a session's answer? The documented form has none.",
            "completed, or none",
            one_of("completed", "absent"),
            "look at how the status is read",
        ),
        Question(
            "answer.usage",
            "Which fields does the usage of an answer have?",
            "any of the two documented sets, or none",
            anything,
            "",
        ),
        Question(
            "answer.credits",
            "What does a message with the chat capability cost, as the answer says?",
            "1, as in the price list; where nothing is told, that is reckoned",
            one_of("1", "not told"),
            "the price list in budget.py is not the API's",
        ),
        Question(
            "memory.control",
            "Does the agent repeat a word that a session was told, and no other?",
            "yes: the agent sees the whole history",
            one_of("yes"),
            "sessions do not hold what they were told, or the agent does not do what it is asked",
        ),
    ),
    _basics,
    credits=3,
    requests=4,
    sessions=1,
)


# -- streams ---------------------------------------------------------------------------


def _streams(lab: Lab) -> None:
    seen = lab.said(lab.shared(), "Answer only with: OK", stream=True)
    if not seen.is_stream:
        kind = seen.headers.get("content-type", "nothing")
        raise Unclear(f"it was answered with {kind}, and not with an event stream")
    for name, read in _FORMS.items():
        lab.found(name, read(seen), seen)
    other = lab.said(None, "Answer only with: OK", stream=True)
    same = all(read(seen) == read(other) for read in _FORMS.values())
    lab.found("stream.same", "yes" if same else "no", seen, other)


def _tokens(seen: Seen) -> str:
    keys = {fields(data) for name, data in seen.events if name == "token"}
    return " or ".join(sorted(keys)) or "no tokens"


def _done(seen: Seen) -> str:
    told = [data for name, data in seen.events if name == "done"]
    if len(told) != 1 or not isinstance(told[0], dict):
        return "not exactly one done event with an object"
    if "response" in told[0]:
        return "nested"
    return "flat with usage" if "usage" in told[0] else "flat"


def _events(seen: Seen) -> str:
    return ", ".join(sorted({name for name, _ in seen.events}))


def _wire(seen: Seen) -> str:
    raw = seen.raw
    ends = {b"\r\n": "CRLF", b"\n": "LF", b"\r": "CR"}
    end = next((name for end, name in ends.items() if end in raw), "none")
    newline = {name: end for end, name in ends.items()}.get(end, b"")
    comments = any(line.startswith(":") for line in seen.text.splitlines())
    closed = bool(newline) and raw.endswith(newline * 2)
    return f"{end}, {'' if comments else 'no '}comments, {'' if closed else 'no '}last blank line"


_FORMS = {
    "stream.tokens": _tokens,
    "stream.done": _done,
    "stream.events": _events,
    "stream.wire": _wire,
}

STREAMS = Study(
    "streams",
    (
        Question(
            "stream.tokens",
            "Which field of a token event has its text?",
            "content or text",
            one_of("content", "text", "content or text"),
            "streams show no text",
        ),
        Question(
            "stream.done",
            "Which form does the done event have?",
            "flat, flat with usage, or nested",
            one_of("flat", "flat with usage", "nested"),
            "streams end as interrupted",
        ),
        Question(
            "stream.events",
            "Which events does a stream have?",
            "a done event; unknown ones are ignored",
            lambda value: "done" in value.split(", "),
            "streams end as interrupted",
        ),
        Question(
            "stream.wire",
            "How do lines end, are there comments, and does the last event end with a blank line?",
            "whatever the standard for event streams allows, and a missing last blank line",
            anything,
            "",
        ),
        Question(
            "stream.same",
            "Has the stream without a session the same form?",
            "either way is read",
            anything,
            "",
        ),
    ),
    _streams,
    credits=2,
    requests=3,
    sessions=1,
)


# -- wrong requests --------------------------------------------------------------------


def _requests(lab: Lab) -> None:
    known = lab.send(None, "Answer only with: OK", x_unknown_field=1)
    lab.found("request.unknown_field", known.outcome)
    lab.found("request.field_case", lab.line.post("/v1/agent", {"Message": "a"}).outcome)
    empty = lab.send(None, "")
    lab.found("request.empty", empty.outcome)
    lab.found("error.shape", _shape(empty), empty)
    lab.found("request.blank", lab.send(None, " \n").outcome)
    nobody = str(uuid.uuid4())
    lab.found("request.unknown_session", lab.send(nobody, "Answer only with: OK").outcome)
    lab.found("request.order", _order(lab.send(nobody, "")))
    lab.found("request.unknown_path", lab.line.post("/v1/no-such-path", {}).outcome)
    outputs = {"tool_outputs": [{"tool_call_id": "call-1", "output": "a"}]}
    lab.found(
        "request.unknown_run", lab.line.post(f"/v1/agent/{nobody}/tool-outputs", outputs).outcome
    )


def _shape(seen: Seen) -> str:
    if seen.ok:
        return "no error came"
    body: Any = seen.json
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return f"wrapped: {fields(body['error'])}"
    return f"flat: {fields(body)}"


def _order(seen: Seen) -> str:
    if seen.status == 400:
        return "the body first: 400"
    return f"the session first: {seen.status}" if seen.status in (404, 410) else seen.outcome


REQUESTS = Study(
    "requests",
    (
        Question(
            "request.unknown_field",
            "Is a field that the API does not know accepted?",
            "none is ever sent",
            anything,
            "",
        ),
        Question(
            "request.field_case",
            "Is `Message` as good as `message`?",
            "names are sent as documented",
            anything,
            "",
        ),
        Question(
            "request.empty",
            "How is an empty message refused?",
            "400; it is never sent",
            starts("400"),
            "look at how an empty message is refused before sending",
        ),
        Question(
            "request.blank",
            "Is a message of white space refused?",
            "either; a refusal is raised as it is",
            anything,
            "",
        ),
        Question(
            "request.unknown_session",
            "What does a message to a session that never was get?",
            "404 or 410: both are taken for an expired session",
            starts("404", "410"),
            "a session that is gone would not be recreated",
        ),
        Question(
            "request.order",
            "Is the body checked before the session?",
            "either: bodies are checked before they are sent",
            anything,
            "",
        ),
        Question(
            "request.unknown_path",
            "What does a path that does not exist get? (Is a 404 of a session to be told from it?)",
            "404 on a session's message is expiry, whatever its code",
            anything,
            "",
        ),
        Question(
            "request.unknown_run",
            "What do tool outputs for a run that never was get?",
            "404: calls and results are replayed",
            starts("404", "410"),
            "a run that is gone would not be replayed",
        ),
        Question(
            "error.shape",
            "Are an error's fields wrapped, and which are there?",
            "either form, with a code and a message",
            lambda value: value.startswith(("wrapped", "flat")) and "code" in value,
            "codes are not seen, and only the status counts",
        ),
    ),
    _requests,
    credits=4,
    requests=8,
)


# -- files -----------------------------------------------------------------------------


def _files(lab: Lab) -> None:
    word = lab.word()
    lines = f"{word.token}\nsecond line\n"
    asked = "Answer with nothing but the first line of the file."
    text = lab.send(None, asked, files=[{"name": "a.txt", "content": lines}])
    read = "read" if repeated(text, word) == (True,) else "accepted, and not read"
    lab.found("files.text", read if text.ok else text.refusal)
    zero = lab.send(None, asked, files=[{"name": "a.txt", "content": "a\x00b"}])
    lab.found("files.nul", zero.outcome)
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
    coded = lab.send(None, asked, files=[{"name": "a.png", "content": picture}])
    lab.found("files.base64", coded.outcome, how="Accepted is not understood.")


FILES = Study(
    "files",
    (
        Question(
            "files.text",
            "Does the agent read a text file?",
            "it does",
            one_of("read"),
            "text files are sent in vain",
        ),
        Question(
            "files.nul",
            "Is a file with a NUL accepted?",
            "either; a refusal is raised as it is",
            anything,
            "",
        ),
        Question(
            "files.base64",
            "Is a picture in base64 accepted?",
            "either: base64 is sent only if the user asks for it",
            anything,
            "",
        ),
    ),
    _files,
    credits=3,
    requests=3,
)
