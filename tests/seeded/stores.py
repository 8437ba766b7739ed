"""Mistakes in the stores, and in the suites that stores of others are tested with."""

from __future__ import annotations

from . import Mutant

MAIN, OPENING, SEALING = "stores/__main__.py", "stores/opening.py", "stores/sealing.py"
SQLITE, CONNECTION = "stores/sqlite.py", "stores/sqlite_connection.py"
SCHEMA, THREADS = "stores/sqlite_schema.py", "stores/sqlite_threads.py"
REDIS, SCRIPTS = "stores/redis.py", "stores/redis_scripts.py"
CONNECTIONS, VALUES = "stores/redis_connections.py", "stores/redis_values.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "an older binding is taken before a newer one that lies on the small shelf",
        "stores/shelves.py",
        "self.settled.live(key, now) + self.recent.live(key, now)",
        "self.recent.live(key, now) + self.settled.live(key, now)",
        "tests/stores/test_memory.py",
    ),
    Mutant(
        "sessions that ended long ago keep their slots in memory",
        "stores/slots.py",
        "self._earliest = min(self._earliest, now + ttl)",
        "pass",
        "tests/stores/test_memory.py",
    ),
    Mutant(
        "the memory store keeps a digest of another kind as one of its own",
        "stores/packing.py",
        " or text != text.lower()",
        "",
        "tests/stores/test_memory.py",
    ),
    Mutant(
        "whoever reads a note that was just written can change it in the memory store",
        "stores/memory.py",
        "return unpacked_note(_packed(before))",
        "return before if isinstance(before, Sound) else unpacked_note(before)",
        "tests/stores/test_memory.py",
    ),
    Mutant(
        "a full pool refuses to refresh its own sessions",
        SQLITE,
        "if name not in alive and len(alive) >= limit:",
        "if len(alive) >= limit:",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "a power cut brings back a binding that was taken",
        SQLITE,
        "        with self._writing(durable=True) as db:\n            for key in keys:",
        "        with self._writing() as db:\n            for key in keys:",
        "tests/stores/test_sqlite.py",
    ),
    Mutant(
        "what was said before a clear is there again after the next message",
        SQLITE,
        "            db.change(sql.REMOVE_ALL_LINES, *named)\n",
        "",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "a transcript lives from its first line, not from its last",
        SQLITE,
        "db.change(sql.BEGIN_LIFE, *life, self._transcript_until())",
        "alive or db.change(sql.BEGIN_LIFE, *life, self._transcript_until())",
        "tests/stores/test_sqlite.py",
    ),
    Mutant(
        "an older content that is put into the file goes unnoticed",
        CONNECTION,
        "            self._takes = db.takes\n",
        "",
        "tests/stores/test_sqlite_restored.py",
    ),
    Mutant(
        "the threads of a file wait one after the other for who has locked it",
        CONNECTION,
        "self.busy_timeout / 5",
        "self.busy_timeout / 5_000",
        "tests/stores/test_sqlite_waiting.py",
    ),
    Mutant(
        "a call that was cancelled writes all the same",
        THREADS,
        "            caller.gone = True\n",
        "",
        "tests/stores/test_sqlite_waiting.py",
    ),
    Mutant(
        "anybody on the machine can read the file",
        SCHEMA,
        "os.O_RDWR, 0o600))",
        "os.O_RDWR, 0o644))",
        "tests/stores/test_sqlite_file.py",
    ),
    Mutant(
        "async: two users who wrote the same get each other's session",
        REDIS,
        "await self._arun(self._take(keys, unique))",
        "await self._arun(self._take(keys, False))",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "async: the last lines replace a transcript instead of joining it",
        REDIS,
        "others = await self._arun(self._append(conversation, lines, replace))",
        "others = await self._arun(self._append(conversation, lines, True))",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "an eleventh session is let in",
        SCRIPTS,
        "'-inf', '(+inf') >= tonumber(ARGV[4])",
        "'-inf', '(+inf') > tonumber(ARGV[4])",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "after a failover, bindings that were taken before are taken once more",
        SCRIPTS,
        "local era = run .. ':' .. history",
        "local era = run",
        "tests/stores/test_redis_eras.py",
    ),
    Mutant(
        "seconds are taken for milliseconds",
        VALUES,
        "CENTURY)) * 1_000)",
        "CENTURY)))",
        "tests/stores/test_contract.py",
    ),
    Mutant(
        "a pop that was not answered in time is sent again",
        CONNECTIONS,
        "retry(self._redis.backoff.NoBackoff(), 0)",
        "retry(self._redis.backoff.NoBackoff(), 1)",
        "tests/stores/test_redis_connections.py",
    ),
    Mutant(
        "the connections of event loops that ended are kept",
        CONNECTIONS,
        "                if loop.is_closed():\n",
        "                if loop is running:\n",
        "tests/stores/test_redis_sharing.py",
    ),
    Mutant(
        "after a change of keys the old one goes on encrypting",
        SEALING,
        "for key in keys])\n    except",
        "for key in reversed(keys)])\n    except",
        "tests/stores/test_sealing.py",
    ),
    Mutant(
        "a second store with another key adds lines that nobody can read",
        SEALING,
        "        if kept == self.known:\n            return\n",
        "        if self._encrypts:\n            return\n",
        "tests/stores/test_sealed_stores.py",
    ),
    Mutant(
        "a store that is opened by its URL keeps transcripts in plain text",
        OPENING,
        "        encryption_key=settings.encryption_key,\n"
        "        transcript_ttl=settings.transcript_ttl,\n"
        "        busy_timeout",
        "        transcript_ttl=settings.transcript_ttl,\n        busy_timeout",
        "tests/stores/test_opening.py",
    ),
    Mutant(
        "the namespace in a URL is passed over",
        OPENING,
        "chosen = namespace if namespace is not None else in_url",
        "chosen = namespace",
        "tests/stores/test_opening.py",
    ),
    Mutant(
        "the command shows another application's sessions",
        MAIN,
        "open_store(options.url, namespace=options.namespace)",
        "open_store(options.url)",
        "tests/stores/test_main.py",
    ),
    Mutant(
        "an over-full project has fewer than no slots",
        MAIN,
        '"free": max(0, limit - len(slots))',
        '"free": limit - len(slots)',
        "tests/stores/test_main.py",
    ),
    Mutant(
        "the suite looks at async stores by their sync methods only",
        "testing/chapter.py",
        'getattr(self._store, f"a{name}")\n\n        async def call(*args: Any, **kwargs: Any)'
        " -> Any:\n            return await method",
        "getattr(self._store, name)\n\n        async def call(*args: Any, **kwargs: Any)"
        " -> Any:\n            return method",
        "tests/testing/test_suite.py",
    ),
]
