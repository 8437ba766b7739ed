"""Custom functions: what asks for outputs, what becomes of them, and what sessions make of it."""

from __future__ import annotations

from typing import Any

from ..lab import HOW, TOOL, Lab, Unclear, Word, repeated
from ..questions import Question, Study, anything, one_of, starts
from ..seen import Seen, fields

OFFER: dict[str, Any] = {"tools": [TOOL]}
TWICE = (
    "Call the tool look_up with the number 1. When you have its result, go on. "
    "Call the tool look_up with the number 2. Call one at a time. Then answer only with: OK"
)
ONCE = "Call the tool look_up with the number 1. When you have its result, answer only with: OK"


def asks(seen: Seen) -> bool:
    """Whether an answer asks for outputs."""
    return seen.ok and isinstance(seen.get("tool_calls"), list) and bool(seen.get("tool_calls"))


def give(lab: Lab, seen: Seen, output: str, **changes: Any) -> Seen:
    """Give the run of an answer the same output for each of its calls."""
    calls = [call for call in seen.get("tool_calls") if isinstance(call, dict)]
    outputs = [{"tool_call_id": call.get("id"), "output": output} for call in calls]
    instance = seen.get("_compute_instance")
    body = {"tool_outputs": outputs, "_compute_instance": instance, **changes}
    kept = {name: value for name, value in body.items() if value is not None}
    return lab.line.post(f"/v1/agent/{seen.text_of('id')}/tool-outputs", kept)


def _tools(lab: Lab) -> None:
    _stateless(lab)
    _with_others(lab)
    lab.require_memory()
    session = lab.open()
    lab.tell(session)
    seen = lab.send(session, _naming(first := lab.word(), second := lab.word()), **OFFER)
    lab.found("tools.session", _of_session(seen))
    lab.found("tools.session_fields", fields(seen.json) if seen.ok else seen.refusal)
    lab.takes_tools = asks(seen)
    if not lab.takes_tools:
        for name in ("tools.session_outputs", "tools.history", "tools.waiting"):
            lab.not_tried(name, "no session's message asked for outputs")
        return
    _finished(lab, session, give(lab, seen, f"{first.told} {second.told}"), (first, second))
    _waiting(lab, session)


def _stateless(lab: Lab) -> None:
    asked = lab.said(None, TWICE, **OFFER)
    if not asks(asked):
        raise Unclear("without a session, the agent did not call the tool that it was told to call")
    lab.found("tools.agent", asked.text_of("status") or "no status")
    lab.found("tools.message", _message(asked))
    again = give(lab, asked, "entry one")
    lab.found("tools.instance", _instances(asked, again), asked, again)
    if not asks(again):
        lab.unclear("tools.wrong_instance", f"the run asked only once: {again.outcome}")
        return
    if again.get("_compute_instance") is None:
        lab.not_tried("tools.wrong_instance", "the answers name no instance")
        return
    wrong = give(lab, again, "entry two", _compute_instance="another-instance")
    lab.found("tools.wrong_instance", wrong.outcome)


def _message(seen: Seen) -> str:
    answer = seen.json
    if not isinstance(answer, dict) or "message" not in answer:
        return "absent"
    return {None: "null", "": "empty"}.get(answer["message"], "text")


def _instances(first: Seen, second: Seen) -> str:
    named = first.get("_compute_instance"), second.get("_compute_instance")
    if named[0] is None:
        return "none"
    if named[1] is None:
        return "in the first answer only"
    return "the same" if named[0] == named[1] else "a new one in each answer"


def _with_others(lab: Lab) -> None:
    streamed = lab.send(None, ONCE, stream=True, **OFFER)
    whole = "streamed" if streamed.is_stream else "answered whole"
    lab.found("tools.stream", whole if streamed.ok else streamed.refusal)
    both = lab.send(None, ONCE, **OFFER, capabilities=["chat", "data"])
    charged = both.number_of("usage", "credits_this_request")
    if both.ok and charged is None:
        lab.unclear("tools.capabilities", "the answer does not tell what it cost")
    else:
        lab.found("tools.capabilities", f"{charged} charged" if both.ok else both.refusal)


def _naming(first: Word, second: Word) -> str:
    return (
        "Call the tool look_up with the number 1. Its result has my code words number "
        f"{first.number} and number {second.number}. When you have it, "
        f"answer only with the sentence that tells the code word number {second.number}."
    )


def _of_session(seen: Seen) -> str:
    if not seen.ok:
        return seen.refusal
    if asks(seen):
        return "asks for outputs"
    return "answers without calls" if seen.text_of("message") else "neither message nor calls"


def _finished(lab: Lab, session: str, done: Seen, words: tuple[Word, Word]) -> None:
    lab.found(
        "tools.session_outputs",
        (done.text_of("status") or "no status") if done.ok else done.refusal,
    )
    told = repeated(done, *words)
    if not done.ok or told != (False, True):
        why = "the answer to the outputs did not repeat the one word that it was to repeat"
        lab.unclear("tools.history", why)
        return
    heard = lab.ask(session, *words)
    values: dict[tuple[bool, ...], str] = {
        (True, True): "the outputs and the answer",
        (False, True): "the answer alone",
        (False, False): "neither",
    }
    lab.found("tools.history", values.get(heard, "the outputs alone"), how=HOW)


def _waiting(lab: Lab, session: str) -> None:
    word = lab.word()
    seen = lab.send(session, f"{word.told} {ONCE}", **OFFER)
    if not asks(seen):
        lab.unclear("tools.waiting", f"the second run did not ask for outputs: {seen.outcome}")
        return
    after = lab.send(session, f"What is my code word number {word.number}? Answer with it alone.")
    if not after.ok:
        lab.found("tools.waiting", f"the next message is refused: {after.refusal}", seen, after)
        return
    heard = repeated(after, word) == (True,)
    value = "left in the session" if heard else "not left in the session"
    lab.found("tools.waiting", value, seen, after, how=HOW)


SURVIVED = "either; it is tried, and remembered"
TOOLS = Study(
    "tools",
    (
        Question(
            "tools.agent",
            "What is the status of an answer that asks for outputs?",
            "requires_tool_outputs, or none",
            one_of("requires_tool_outputs", "no status"),
            "look at how the status is read",
        ),
        Question(
            "tools.message",
            "What is the message of an answer that asks for outputs?",
            "whatever it is, the calls count",
            anything,
            "",
        ),
        Question(
            "tools.instance",
            "Does each answer of a run name a compute instance of its own?",
            "that of the last answer is passed back",
            anything,
            "",
        ),
        Question(
            "tools.wrong_instance",
            "What do outputs that name another instance get?",
            "404: calls and results are replayed",
            anything,
            "",
        ),
        Question(
            "tools.stream",
            "What does a request with tools and stream get?",
            "it is never sent",
            anything,
            "",
        ),
        Question(
            "tools.capabilities",
            "What do chat and data cost together with tools?",
            "tools are offered with chat alone",
            anything,
            "",
        ),
        Question(
            "tools.session",
            "Does a session's message take tools?",
            SURVIVED,
            one_of(
                "asks for outputs",
                "answers without calls",
                "neither message nor calls",
                "400 invalid_tools",
            ),
            "look at what a tool turn on a session then becomes",
        ),
        Question(
            "tools.session_fields", "Which fields does its answer have?", SURVIVED, anything, ""
        ),
        Question(
            "tools.session_outputs",
            "What do the outputs of a session's run get?",
            "an answer, as without a session",
            starts("completed", "no status", "404", "410"),
            "tool turns on sessions fail",
        ),
        Question(
            "tools.history",
            "What of a run with tools enters the session?",
            "all of it is taken to be heard; calls and outputs count towards the 50",
            one_of("the outputs and the answer"),
            "outputs are not said again in a session that has not kept them",
        ),
        Question(
            "tools.waiting",
            "Is a message in the session while its run waits for outputs?",
            "a session whose run was passed over is not used again",
            anything,
            "",
        ),
    ),
    _tools,
    credits=10,
    requests=13,
    sessions=1,
    needs_memory=True,
)
