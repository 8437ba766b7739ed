"""Mistakes in what both adapters stand on, the modules beside the rooms; and in the doctor."""

from __future__ import annotations

from . import Mutant

RUNTIME, OPTIONS = "runtime.py", "options.py"
CONVERSATIONS, ASKING = "conversations.py", "asking.py"
OFFERS, STAMPS, BUDGET = "offers.py", "stamps.py", "budget.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "a stream that is garbage says its last words to a store that its own thread is in",
        "drivers.py",
        "if last.wanted and held_here():",
        "if last.wanted and not self:",
        "tests/test_locks.py",
    ),
    Mutant(
        "the turn of a stream that is garbage is closed before its last words",
        "drivers.py",
        "    hands = _Hands(client, around)\n    _under_way[hands] = flow\n",
        "    hands = _Hands(client, around)\n",
        "tests/test_locks.py",
    ),
    Mutant(
        "one model object continues what another one heard",
        RUNTIME,
        "self.scope: str = secrets.token_hex(16) if",
        'self.scope: str = "" if',
        "tests/test_runtime.py",
    ),
    Mutant(
        "a model that was closed on the event loop keeps its sync connections",
        RUNTIME,
        "        self.close()\n        if self._async_client is not None:",
        "        if self._async_client is not None:",
        "tests/test_runtime.py",
    ),
    Mutant(
        "a name that is a number is another conversation than its text",
        OPTIONS,
        "    return str(value)\n",
        "    return repr(value)\n",
        "tests/test_options.py",
    ),
    Mutant(
        "async: a memory that is set to other messages keeps the old ones before them",
        CONVERSATIONS,
        "await self._store.aappend(self._transcript(), lines, True)",
        "await self._store.aappend(self._transcript(), lines, False)",
        "tests/llama_index/memory/test_memory.py",
    ),
    Mutant(
        "async: a cleared conversation is still in the session that has heard it",
        CONVERSATIONS,
        "        await self.adisown(messages)\n",
        "",
        "tests/test_conversations.py",
    ),
    Mutant(
        "a session that has expired is still shown",
        CONVERSATIONS,
        'if not facts or facts["deadline"] <= self._clock():',
        "if not facts:",
        "tests/test_conversations.py",
    ),
    Mutant(
        "async: an answer that was paid for is lost where the store fails",
        ASKING,
        "            with _paid_for():\n"
        "                await self._transcript.aadd(question, item)",
        "            await self._transcript.aadd(question, item)",
        "tests/test_asking.py",
    ),
    Mutant(
        "an agent is told to call a tool again that may have been charged",
        ASKING,
        'again = error.retryable and error.charged == "no"',
        "again = error.retryable",
        "tests/test_asking.py",
    ),
    Mutant(
        "the third file of one name takes the place of the second",
        ASKING,
        "    while free in taken:\n",
        "    if free in taken:\n",
        "tests/test_asking.py",
    ),
    Mutant(
        "a demand that was added to an output makes the next turn a replay",
        OFFERS,
        "replace(last, text=text, remembered=last.text)",
        "replace(last, text=text)",
        "tests/test_offers.py",
    ),
    Mutant(
        "a list of two conversations' messages goes on with one of them",
        STAMPS,
        "name = names.pop() if len(names) == 1 else None",
        "name = names.pop()",
        "tests/test_stamps.py",
    ),
    Mutant(
        "a tool without a memory tells agents that it has one",
        "capabilities.py",
        "REMEMBERS if remembers else ALONE,",
        "REMEMBERS,",
        "tests/test_capabilities.py",
    ),
    Mutant(
        "a run of unknown outcome is not counted against max_credits",
        BUDGET,
        'error.charged == "no"',
        'error.charged != "yes"',
        "tests/test_budget.py",
    ),
    Mutant(
        "the last credit of max_credits can't be spent",
        BUDGET,
        "self._spent + cost > self._limit",
        "self._spent + cost >= self._limit",
        "tests/test_budget.py",
    ),
    Mutant(
        "a check that was to be free spends a credit",
        "doctor/service.py",
        "        if not self._credit:\n",
        "        if self._credit is None:\n",
        "tests/doctor/test_service.py",
    ),
    Mutant(
        "the doctor goes on asking with a key that nobody knows",
        "doctor/service.py",
        "if answer.status != 400 or",
        "if answer.status >= 500 or",
        "tests/doctor/test_service.py",
    ),
]
