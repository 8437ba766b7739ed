"""Seeded bugs: small plausible mistakes, each of which the tests must catch.

``make mutants`` puts one mistake at a time into a copy of the package and runs the tests of
the heart, the store and the drivers on it. A mistake that survives is a hole in the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MACHINE = "tests/sessions/test_machine.py"
QUICK = ["tests/sessions", "tests/stores", "tests/test_drivers.py", f"--ignore={MACHINE}"]
ALONE = "--machine"
LONGEST = 180


@dataclass(frozen=True)
class Mutant:
    """One mistake: in a file of the package, this text becomes that."""

    name: str
    file: str
    old: str
    new: str


TURN, OPENING, ALIGN = "sessions/turn.py", "sessions/opening.py", "sessions/align.py"
KEYS, FAILURES, REPLAY = "sessions/keys.py", "sessions/failures.py", "sessions/replay.py"
FINDING, SPEAKING = "sessions/finding.py", "sessions/speaking.py"

MUTANTS = [
    Mutant(
        "put before send",
        TURN,
        "        send = self._send(speech, session_id, decision)\n        try:\n",
        "        send = self._send(speech, session_id, decision)\n"
        "        if binding is not None:\n            yield Put(binding, DAY)\n        try:\n",
    ),
    Mutant(
        "the digest ignores the assistant's text",
        "sessions/digest.py",
        '        assistant = message.role == "assistant"\n',
        '        assistant = message.role == "assistant"\n'
        '        text = "" if assistant else text\n',
    ),
    Mutant(
        "a name falls through to a mark",
        KEYS,
        '        if self.call.name is not None:\n            return "name"\n        if any(',
        "        if any(",
    ),
    Mutant("the tenant is forgotten", KEYS, '("tenant", tenant)', '("any",)'),
    Mutant("content matches in any model object", KEYS, "self.call.scope, instr", '"", instr'),
    Mutant(
        "content ignores the instructions",
        KEYS,
        "self.call.scope, instructions, rolled",
        'self.call.scope, "", rolled',
    ),
    Mutant("off by one at the cap", TURN, "binding.used + 2 >", "binding.used >"),
    Mutant(
        "a read time-out is tried again",
        FAILURES,
        "        case SessionExpiredError():",
        "        case SessionExpiredError() | TimeoutError():",
    ),
    Mutant(
        "put back after an unknown outcome",
        FAILURES,
        '        case _:\n            return "drop"',
        '        case _:\n            return "keep"',
    ),
    Mutant(
        "402 keeps the session",
        FAILURES,
        "    AuthenticationError,\n    NeverSentError,\n    InvalidInputError,\n    Conf",
        "    AuthenticationError,\n    NeverSentError,\n    InvalidInputError,\n"
        "    __import__('stewrd_integrations.errors').errors.InsufficientCreditsError,\n    Conf",
    ),
    Mutant(
        "a quota keeps the session",
        FAILURES,
        '        case QuotaExceededError():\n            return "drop"',
        '        case QuotaExceededError():\n            return "keep"',
    ),
    Mutant(
        "a turn is sent again after a part was shown",
        FAILURES,
        '        case _ if shown:\n            return "drop"\n',
        '        case _ if shown:\n            return "anew"\n',
    ),
    Mutant(
        "a 410 leaves its slot taken",
        TURN,
        '            if answer.word == "gone":\n',
        "            if False:\n",
    ),
    Mutant(
        "no ghost after a create of unknown outcome",
        OPENING,
        "        return None  # the slot stays",
        "        yield Vacate(keys.project, reserved)\n        return None  # the slot stays",
    ),
    Mutant(
        "a ghost is taken for the next slot of the same call",
        OPENING,
        'f"opening-{keys.call.ids.call}-{serial}"',
        'f"opening-{keys.call.ids.call}"',
    ),
    Mutant(
        "slots are not refreshed",
        TURN,
        "        yield refresh(self.keys.project, str(",
        "        str((",
    ),
    Mutant(
        "two calls of one name at once",
        "sessions/notes.py",
        "    return bool(held) and held != arrival.call and",
        "    return False and bool(held) and held != arrival.call and",
    ),
    Mutant(
        "take leaves the binding",
        "stores/memory.py",
        "self._remove(live[-1])",
        "self._bindings[live[-1]][0]",
    ),
    Mutant(
        "ambiguous content is taken",
        "stores/memory.py",
        "if live and (len(live) == 1 or not unique):",
        "if live:",
    ),
    Mutant(
        "no tombstone where content matched",
        FINDING,
        "    if binding is not None and unique:",
        "    if False:",
    ),
    Mutant(
        "a covered extra is let through",
        ALIGN,
        "        elif digests[at - 1] in known:",
        "        elif False:",
    ),
    Mutant(
        "an edited front is taken for a summary",
        ALIGN,
        "if front >= walk.left:",
        "if front > walk.left:",
    ),
    Mutant(
        "long histories are not looked at",
        ALIGN,
        "        walk.at == covered.base_count and",
        "        walk.at == covered.base_count or",
    ),
    Mutant("a rewind is taken for a trim", ALIGN, "if digests[0] == covered.first:", "if False:"),
    Mutant(
        "any trimmed history continues a name",
        KEYS,
        "TrimRule(0 if self.tip_is_marked(binding) else 2)",
        "TrimRule(0)",
    ),
    Mutant(
        "changed instructions are not said",
        SPEAKING,
        "    return binding.instructions != keys.history.instructions_digest",
        "    return False",
    ),
    Mutant("left-out messages count as held", TURN, " - speech.omitted + 1", " + 1"),
    Mutant(
        "every replayed message is the user's",
        REPLAY,
        '{"role": message.role, "text"',
        '{"role": "user", "text"',
    ),
    Mutant("a nonce may stand in a text", REPLAY, "    while nonce in bodies:", "    while False:"),
    Mutant(
        "a forged envelope is sent as it is",
        REPLAY,
        "message.name is None and _ENVELOPE",
        "message.name is None or _ENVELOPE",
    ),
    Mutant(
        "a streamed answer is remembered from its last event",
        "sessions/exchange.py",
        'return event.reply, "".join(texts)',
        "return event.reply, event.reply.message",
    ),
    Mutant(
        "an abandoned stream gets no last word",
        "drivers.py",
        "        for effect in last:\n            last.answer = hands.perform(effect)\n",
        "",
    ),
    Mutant(
        "a failing store is never noticed",
        "drivers.py",
        "            return False\n        case ReadNote",
        "            return True\n        case ReadNote",
    ),
    Mutant(
        "idle time is not looked at",
        OPENING,
        "    return now > sent_at +",
        "    return False and now > sent_at +",
    ),
    Mutant(
        "first turns without a name take every slot",
        OPENING,
        "limit = min(limit, limit // 2 + 1)",
        "pass",
    ),
    Mutant("churn is never noticed", "sessions/notes.py", ">= CHURN_LIMIT", ">= 10_000"),
    Mutant(
        "side calls are never learnt", "sessions/notes.py", "if passed_over and", "if False and"
    ),
    Mutant(
        "a session that failed is put back by the next failure",
        TURN,
        "self._anew(answer, _without_session(binding), again=False)",
        "self._anew(answer, binding, again=False)",
    ),
    Mutant(
        "a session that was sent something is anybody's",
        TURN,
        '            if not getattr(error, "sent", True):\n',
        "            if True:\n",
    ),
    Mutant(
        "another's mark under the same name is ignored",
        FINDING,
        "    if keys.tip_is_marked(binding) is False:",
        "    if False:",
    ),
    Mutant(
        "namesakes are not told apart by their instructions",
        KEYS,
        'self._named("whole", instructions, rolled)',
        'self._named("whole", rolled)',
    ),
    Mutant("a summary may hide an edit", ALIGN, "    if walk.tip <= front:", "    if False:"),
    Mutant(
        "what a stream left out is never shown",
        "sessions/exchange.py",
        'message[len(said) :] if message.startswith(said) else ""',
        '""',
    ),
    Mutant(
        "content leads to another's file",
        KEYS,
        "plain and self.policy.match_by_content",
        "self.policy.match_by_content",
    ),
    Mutant(
        "a long failed answer loses its slot",
        TURN,
        "ttl=held.ttl + self.call.allowance",
        "ttl=held.ttl",
    ),
    Mutant(
        "a forked child keeps its parent's bindings",
        "stores/memory.py",
        "    os.register_at_fork(after_in_child=_after_fork)",
        "    pass",
    ),
    Mutant(
        "content leads to a session that knows more",
        TURN,
        "plain=binding.plain and not changed and alignment.heard_no_more,",
        "plain=True,",
    ),
    Mutant(
        "a failing store loses an answer that was paid for",
        "drivers.py",
        '        if self.store_errors == "error" and not sent:',
        '        if self.store_errors == "error":',
    ),
    Mutant(
        "a session whose slot was not swapped in is not counted",
        OPENING,
        "        if (yield refresh(keys.project, session.id, policy)):\n",
        "        yield refresh(keys.project, session.id, policy)\n        if True:\n",
    ),
    Mutant("tool outputs may be cut", SPEAKING, "current + outputs + len", "current + len"),
    Mutant(
        "a refunded run is repeated more than once",
        TURN,
        '            if fate == "anew" and not again:\n',
        "            if False:\n",
    ),
    Mutant(
        "an earlier attempt that arrived is forgotten",
        "api/calls.py",
        "        result.sent = arrived",
        "        pass",
    ),
]


def caught_by(mutant: Mutant, machine_only: bool) -> str | None:
    """The test that fails on the mutant, or None if it survives."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / "pyproject.toml", folder)
        for part in ("stewrd_integrations", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=ignored)
        file = Path(folder) / "stewrd_integrations" / mutant.file
        file.write_text(file.read_text().replace(mutant.old, mutant.new))
        quick = None if machine_only else _first_failure(folder, QUICK)
        return quick or _first_failure(folder, [MACHINE])


def _first_failure(folder: str, tests: list[str]) -> str | None:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": folder, "STEWRD_MACHINE_EXAMPLES": "100"}
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return f"(still running after {LONGEST} s)"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"the tests did not run:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
    return failed[1].partition("::")[2] or failed[1]


def main() -> int:
    """Run every mutant whose name holds one of the words given; 1 if any survives."""
    words = [word for word in sys.argv[1:] if word != ALONE] or [""]
    chosen = [mutant for mutant in MUTANTS if any(word in mutant.name for word in words)]
    machine_only = ALONE in sys.argv
    for mutant in chosen:
        if mutant.old not in (ROOT / "stewrd_integrations" / mutant.file).read_text():
            raise SystemExit(f"{mutant.name}: its text is not in {mutant.file} any more")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda mutant: caught_by(mutant, machine_only), chosen)
        survivors = 0
        for mutant, test in zip(chosen, results, strict=True):
            survivors += test is None
            print(
                f"{'SURVIVED' if test is None else 'caught':9} {mutant.name:55} {test or ''}",
                flush=True,
            )
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
