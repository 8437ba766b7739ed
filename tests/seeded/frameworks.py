"""Mistakes that show only where frameworks, stores and processes meet: see `tests.seeded`.

Each names the machine that notices it.
"""

from __future__ import annotations

from tests.seeded import Mutant

LANGCHAIN, LLAMA_INDEX = "langchain/messages.py", "llama_index/messages.py"
REPLAY = "sessions/replay.py"
FRAMEWORKS = "tests/machines/test_frameworks.py"
UNIQUE, COLLIDING = f"{FRAMEWORKS}::TestUnique", f"{FRAMEWORKS}::TestColliding"
PROCESSES = "tests/machines/test_processes.py"

MUTANTS = [
    Mutant(
        "LlamaIndex: a mark is not known again after it was saved",
        LLAMA_INDEX,
        'ours.get("mark") if isinstance(ours, dict) else None',
        'ours.get("mark") if type(ours).__name__ == "Unsaid" else None',
        UNIQUE,
    ),
    Mutant(
        "LangChain: a mark is known in chunks only",
        LANGCHAIN,
        "def _mark(message: AIMessage) -> str | None:\n",
        "def _mark(message: AIMessage) -> str | None:\n"
        "    if not isinstance(message, AIMessageChunk):\n        return None\n",
        UNIQUE,
    ),
    Mutant(
        "a file that was changed is taken for the one that was heard",
        "sessions/digest.py",
        "    return () if ours else message.files\n",
        "    return ()\n",
        UNIQUE,
    ),
    Mutant(
        "a session is sent the files again that it has heard",
        REPLAY,
        "    for entry in reversed(unheard):\n        parcel.add(messages[entry.index])\n",
        "    for message in reversed(messages[:-1]):\n        parcel.add(message)\n",
        UNIQUE,
    ),
    Mutant(
        "files of one name stand for one another in a replay",
        REPLAY,
        "        while free in self._taken:\n",
        "        while False:\n",
        UNIQUE,
    ),
    Mutant(
        "a replay leaves out what fits to the character",
        REPLAY,
        "(price := cost(history[start - 1])) <= budget:",
        "(price := cost(history[start - 1])) < budget:",
        UNIQUE,
    ),
    Mutant(
        "the last credit is not spent",
        "budget.py",
        "self._spent + cost > self._limit:",
        "self._spent + cost >= self._limit:",
        f"{FRAMEWORKS}::TestSparing",
    ),
    Mutant(
        "a recap is not told of the oldest message",
        "sessions/speaking.py",
        "summary = yield Summarise(window.omitted)",
        "summary = yield Summarise(window.omitted[1:] or window.omitted)",
        f"{FRAMEWORKS}::TestSparing",
    ),
    Mutant(
        "LlamaIndex: the tenant of a call is dropped",
        "llama_index/llm.py",
        "own = {name: given[name] for name in PER_CALL if name in given}",
        'own = {name: given[name] for name in PER_CALL if name in given and name != "tenant"}',
        COLLIDING,
    ),
    Mutant(
        "LangChain: the tenant of a call is dropped",
        "langchain/chat_models.py",
        "who = {option: given[option] for option in PER_CALL if given.get(option) is not None}",
        'who = {o: given[o] for o in PER_CALL if o != "tenant" and given.get(o) is not None}',
        COLLIDING,
    ),
    Mutant(
        "LangChain: a tool's failure is replayed as a success",
        LANGCHAIN,
        'error=message.status == "error"',
        "error=False",
        UNIQUE,
    ),
    Mutant(
        "SQLite: the namespace is ignored",
        "stores/sqlite.py",
        "self._namespace = checked_namespace(namespace)",
        'self._namespace = checked_namespace(namespace and "default")',
        f"{FRAMEWORKS}::TestCollidingOnSQLite",
    ),
    Mutant(
        "Redis: the end of a namespace is cut off",
        "stores/redis.py",
        'self._start = f"stewrd:{{{self._namespace}}}:"',
        'self._start = f"stewrd:{{{self._namespace[:-1]}}}:"',
        f"{FRAMEWORKS}::TestCollidingOnRedis",
    ),
    Mutant(
        "SQLite: a take looks first and removes later",
        "stores/sqlite.py",
        "        with self._writing(durable=True) as db:\n            for key in keys:\n"
        "                binding = self._pop(db, key, unique)\n"
        "                if binding is not None:\n                    return binding\n"
        "            return None\n",
        "        found = next(iter(self.peek(keys, unique)), None)\n        time.sleep(0.5)\n"
        "        with self._writing(durable=True) as db:\n            if found is not None:\n"
        "                self._remove(db, blob(found.id))\n        return found\n",
        f"{PROCESSES}::TestTogether",
    ),
]
