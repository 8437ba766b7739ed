"""Mistakes in the emulator: a wrong one hides those of the package."""

from __future__ import annotations

from . import Mutant

WORLD, SESSIONS, RULES = "emulator/world.py", "emulator/sessions.py", "emulator/rules.py"
RUNS, READING, BUILTIN = "emulator/runs.py", "emulator/reading.py", "emulator/builtin.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "a session lives on in its thirtieth idle minute",
        RULES,
        "now - session.last_used >= settings.idle_timeout",
        "now - session.last_used > settings.idle_timeout",
        "tests/emulator/test_sessions.py",
    ),
    Mutant(
        "the 61st request of a minute is let through",
        RULES,
        "len(recent) < limit:",
        "len(recent) <= limit:",
        "tests/emulator/test_world.py",
    ),
    Mutant(
        "who has exactly what a run costs is refused",
        RULES,
        "if balance < cost or",
        "if balance <= cost or",
        "tests/emulator/test_world.py",
    ),
    Mutant(
        "a session holds 49 messages",
        SESSIONS,
        "while self.held(session) > self.settings.history_limit:",
        "while self.held(session) >= self.settings.history_limit:",
        "tests/emulator/test_sessions.py",
    ),
    Mutant(
        "expired sessions take slots",
        SESSIONS,
        "sum(not session.expired for session in self._all.values())",
        "len(self._all)",
        "tests/emulator/test_sessions.py",
    ),
    Mutant(
        "two requests on one session at once go unnoticed",
        SESSIONS,
        "        session.busy.add(number)\n",
        "",
        "tests/emulator/test_world.py",
    ),
    Mutant(
        "outputs can be given twice",
        RUNS,
        "        self.discard(run.id)\n",
        "",
        "tests/emulator/test_runs.py",
    ),
    Mutant(
        "wrong outputs use a run up",
        RUNS,
        "        submission = tools.parse_outputs(self._settings, body)\n",
        "        self.discard(run_id)\n"
        "        submission = tools.parse_outputs(self._settings, body)\n",
        "tests/emulator/test_runs.py",
    ),
    Mutant(
        "a run that was refunded counts against the quota",
        "emulator/accounts.py",
        "            self._runs -= 1\n",
        "",
        "tests/emulator/test_accounts.py",
    ),
    Mutant(
        "instructions that replace the former ones are added to them",
        READING,
        "if conversation.instructions and not replaces:",
        "if conversation.instructions:",
        "tests/emulator/test_reading.py",
    ),
    Mutant(
        "what was left out of a second replay is not counted",
        READING,
        "omitted=conversation.omitted + omitted,",
        "omitted=omitted,",
        "tests/emulator/test_reading.py",
    ),
    Mutant(
        "a stream breaks off one token late",
        "emulator/streams.py",
        '(event.name == "token" and tokens == 0)',
        '(event.name == "token" and tokens < 0)',
        "tests/emulator/test_streams.py",
    ),
    Mutant(
        "the agent knows what it said itself as the user's words",
        BUILTIN,
        'if one.role == "user" and not one.summary]',
        "if not one.summary]",
        "tests/emulator/test_builtin.py",
    ),
    Mutant(
        "what was told first counts, not what was told last",
        BUILTIN,
        "for text in sources for what, value in _facts(text)}",
        "for text in reversed(sources) for what, value in _facts(text)}",
        "tests/emulator/test_builtin.py",
    ),
    Mutant(
        "a refusal that nobody ordered is not shown",
        "emulator/journal.py",
        "one.fault is None and (one.status or 0) >= 400]",
        "one.fault is None and (one.status or 0) > 400]",
        "tests/emulator/test_world.py",
    ),
    Mutant(
        "an answer that was lost is not in the log of its session",
        WORLD,
        "lost and not self.settings.failed_appended:",
        "lost:",
        "tests/emulator/test_server.py",
    ),
]
