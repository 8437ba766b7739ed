"""Mistakes by which a secret gets out, or one user or message passes for another.

Each names the tests that notice it: see `tests.seeded`.
"""

from __future__ import annotations

from dataclasses import replace

from tests.seeded import Mutant

RESPONSES, EVENTS, SSE = "api/responses.py", "api/events.py", "api/sse.py"
DOWNLOADS, WEBHOOKS, VEILS = "api/downloads.py", "api/webhooks.py", "api/veils.py"
CLIENT, REPLAY, REDIS = "api/client.py", "sessions/replay.py", "stores/redis_connections.py"

ECHOES = [
    Mutant(
        "the body of a refusal is told as it is",
        "api/calls.py",
        "outcome.body, veil=outcome.veil)",
        "outcome.body)",
    ),
    Mutant(
        "an error event is told as it is",
        EVENTS,
        "error_details(parse_json(data), self._veil)",
        "error_details(parse_json(data))",
    ),
    Mutant(
        "a header is told as it is",
        RESPONSES,
        'clean(headers.get("x-request-id"), veil)',
        'clean(headers.get("x-request-id"))',
    ),
    Mutant(
        "keys of other forms are not looked for",
        "api/transport.py",
        "        self.veil = Veil(key)\n",
        "        self.veil = Veil()\n",
    ),
    Mutant("a key is not found in base64", VEILS, "*map(_spelled, _in_base64(key.encode()))", ""),
    Mutant(
        "a key is not found percent-encoded",
        VEILS,
        r"|%(?:25){{0,3}}(?i:{code:02x})|",
        "|",
    ),
    Mutant(
        "a traceback of a stream shows what was sent",
        EVENTS,
        "            failure = error.with_traceback(None)\n        else:",
        "            failure = error\n        else:",
    ),
    Mutant(
        "a traceback of an answer shows what was sent",
        RESPONSES,
        "    del data  # a traceback that shows locals must not show it\n",
        "",
    ),
    Mutant(
        "a session may be called like the key",
        RESPONSES,
        "if not is_safe_id(session_id) or answer.veil.covers(session_id):",
        "if not is_safe_id(session_id):",
    ),
    Mutant(
        "metadata may hold the key",
        RESPONSES,
        "value if isinstance(value, str) and not veil.covers(value) else None",
        "value if isinstance(value, str) else None",
    ),
    Mutant(
        "an error may rule a terminal",
        RESPONSES,
        'each if each.isprintable() else "\\ufffd" for each in text',
        "each for each in text",
    ),
]

KEYS = [
    Mutant(
        "a frame holds the key that was passed",
        "llama_index/configured.py",
        "        key = ApiKey(api_key)\n        del api_key\n        fields",
        "        key = ApiKey(api_key)\n        fields",
    ),
    Mutant(
        "a key is a plain attribute",
        "langchain/configured.py",
        'options |= {"api_key": _masked(options.pop("api_key", None))}',
        'options |= {"api_key": options.pop("api_key", None)}',
    ),
    Mutant(
        "stores tell projects apart by their keys",
        "api/settings.py",
        "identity = project.hexdigest(), secret.digest()",
        "identity = project.hexdigest() + key.decode(), secret.digest()",
    ),
    Mutant(
        "a client shows its key",
        "api/settings.py",
        "api_key='**********')\"",
        'api_key={self._settings.key.reveal()})"',
    ),
]

FORGING = [
    Mutant(
        "all fences are the same",
        "runtime.py",
        "Ids(many[:32], many[32:64], many[64:])",
        'Ids(many[:32], many[32:64], "0" * 32)',
    ),
    Mutant("a fence may occur in a text", REPLAY, "    while nonce in bodies:", "    while False:"),
    Mutant(
        "an envelope of a user's is sent as it is",
        REPLAY,
        'return message.name is None and _ENVELOPE not in _UNSAFE.sub("", message.text)',
        "return message.name is None",
    ),
    Mutant(
        "bidi controls are not escaped",
        REPLAY,
        r"\u2028-\u202e\u2060-\u206f\ufeff",
        r"\u2028\u2029\ufeff",
    ),
    Mutant(
        "lines of a transcript may have breaks",
        REPLAY,
        "text = json.dumps(value, ensure_ascii=False, default=str)\n    return _UNSAFE",
        'text = json.dumps(value, ensure_ascii=False, default=str).replace("\\\\n", "\\n")\n'
        "    return _UNSAFE",
    ),
    Mutant("the tenant is in no key", "sessions/keys.py", '("tenant", tenant)', '("any",)'),
]

IDS = [
    Mutant(
        "a session's id goes into a path unchecked",
        "api/requests.py",
        "{_checked_id('session_id', session_id)}",
        "{session_id}",
    ),
    Mutant(
        "a created session's id is believed",
        RESPONSES,
        "if not is_safe_id(session_id) or",
        "if not session_id or",
    ),
    Mutant(
        "redirects are followed",
        "api/connections.py",
        "response = self._http.send(request, auth=None, stream=True, follow_redirects=False)",
        "response = self._http.send(request, auth=None, stream=True, follow_redirects=True)",
    ),
]

FETCHED = [
    Mutant(
        "downloads follow redirects",
        DOWNLOADS,
        '"follow_redirects": False,',
        '"follow_redirects": True,',
    ),
    Mutant(
        "private addresses are spoken to",
        DOWNLOADS,
        "return ip.is_global and not ip.is_multicast",
        "return not ip.is_multicast",
    ),
    Mutant(
        "one public address is enough",
        DOWNLOADS,
        "not all(map(self.network.allows, addresses))",
        "not any(map(self.network.allows, addresses))",
    ),
    Mutant(
        "a name is resolved again",
        DOWNLOADS,
        "self._url.copy_with(host=address, fragment=None)",
        "self._url.copy_with(fragment=None)",
    ),
    Mutant(
        "sizes are believed",
        DOWNLOADS,
        "        if self._received > self._max_bytes:",
        "        if False:",
    ),
]

SIGNED = [
    Mutant("the time does not matter", WEBHOOKS, "    if not in_time(int(t)):", "    if False:"),
    Mutant(
        "the future is in time",
        WEBHOOKS,
        "abs(moment - t) <= tolerance",
        "moment - t <= tolerance",
    ),
    Mutant(
        "a part of a signature is enough",
        WEBHOOKS,
        "hmac.compare_digest(ours, theirs)",
        "hmac.compare_digest(ours[:16], theirs[:16])",
    ),
    Mutant(
        "an empty secret will do", WEBHOOKS, "        if not each.strip():", "        if False:"
    ),
    Mutant("any digits are a time", WEBHOOKS, 're.compile(r"[0-9]{1,12}")', 're.compile(r"\\d+")'),
    Mutant("the time is not signed", WEBHOOKS, 'hmac.new(key, t + b".",', 'hmac.new(key, b".",'),
    Mutant(
        "an error's frame holds the secret",
        WEBHOOKS,
        "    del body, headers, secret  # a traceback that shows locals must not show them\n",
        "",
    ),
]

SIZES = [
    Mutant("comments have no end", SSE, "        if self._idle > MAX_IDLE:", "        if False:"),
    Mutant("streams have no end", SSE, "        if self._total > MAX_STREAM:", "        if False:"),
    Mutant(
        "lines have no end",
        SSE,
        "if self._size + len(self._line) + len(piece) > MAX_EVENT:",
        "if self._size > MAX_EVENT:",
    ),
    Mutant(
        "any packing is unpacked", RESPONSES, "    if packing in (", "    if True or packing in ("
    ),
    Mutant(
        "a chunk is split at once",
        SSE,
        "        for place in range(start, len(chunk), SLICE):\n"
        "            yield from self._split(chunk[place : place + SLICE])\n",
        "        yield from self._split(chunk[start:])\n",
    ),
    Mutant(
        "a line may end at U+2028",
        SSE,
        "        for piece in part.splitlines(keepends=True):\n",
        '        part = part.replace(b"\\xe2\\x80\\xa8", b"\\n")\n'
        "        for piece in part.splitlines(keepends=True):\n",
    ),
]

WAITS = [
    Mutant(
        "a place that came too late is lost",
        REDIS,
        "CancelledError:\n            self._leave(waiting)\n            raise",
        "CancelledError:\n            raise",
    ),
    Mutant(
        "a cancellation is swallowed",
        "api/waiting.py",
        "    except asyncio.CancelledError:\n        await _give_up(task, undo)\n        raise",
        "    except asyncio.CancelledError:\n        if task.done():\n"
        "            return task.result()\n        await _give_up(task, undo)\n        raise",
    ),
    Mutant(
        "a spoilt note is believed",
        "sessions/soundness.py",
        "        return Sound(self._change(sound(note)))",
        "        return Sound(self._change(note))",
    ),
]

CAUGHT_BY: dict[str, list[Mutant]] = {
    "tests/security/test_echoes.py": ECHOES,
    "tests/security/test_key_in_errors.py": KEYS,
    "tests/security/test_forging.py": FORGING,
    "tests/security/test_ids_and_tenants.py": IDS,
    "tests/api/test_downloads.py": FETCHED,
    "tests/api/test_webhooks.py": SIGNED,
    "tests/api/test_sse_peer.py": SIZES,
    "tests/security/test_cancelled_waits.py": WAITS[:1],
    "tests/api/test_waiting.py": WAITS[1:2],
    "tests/security/test_spoilt_notes.py": WAITS[2:],
}
"""Which tests are to be run on which mistakes."""

MUTANTS = [replace(one, tests=tests) for tests, group in CAUGHT_BY.items() for one in group]
