"""Mistakes on the wire: requests, answers, streams, and one client unlike the other."""

from __future__ import annotations

from . import Mutant

REQUESTS, RESPONSES = "api/requests.py", "api/responses.py"
CALLS, EVENTS = "api/calls.py", "api/events.py"
SYNC, ASYNC = "api/client.py", "api/async_client.py"
CONNECTIONS, POOL = "api/connections.py", "api/pool.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "the twentieth tool is refused",
        REQUESTS,
        "if len(tools) > MAX_TOOLS:",
        "if len(tools) >= MAX_TOOLS:",
        "tests/api/test_requests.py",
    ),
    Mutant(
        "outputs are measured in characters, and the API refuses them",
        REQUESTS,
        'len(output.output.encode("utf-8", "backslashreplace"))',
        "len(output.output)",
        "tests/api/test_requests.py",
    ),
    Mutant(
        "every 429 in a session is taken for the limit of sessions",
        RESPONSES,
        "return SessionLimitError if kind is Kind.CREATE else RateLimitError",
        "return RateLimitError if kind is Kind.RUN else SessionLimitError",
        "tests/api/test_failures.py",
    ),
    Mutant(
        "tool outputs that failed are said to have cost nothing",
        RESPONSES,
        'elif kind is Kind.OUTPUTS and (error.charged != "no" or',
        'elif kind is Kind.OUTPUTS and (error.charged == "yes" or',
        "tests/api/test_failures.py",
    ),
    Mutant(
        "a server may make a call wait for an hour",
        RESPONSES,
        "        return min(float(text), MAX_RETRY_AFTER)\n",
        "        return float(text)\n",
        "tests/api/test_failures.py",
    ),
    Mutant(
        "max_retries=0 sends a request twice",
        CALLS,
        "if attempt >= patience.max_retries or",
        "if attempt > patience.max_retries or",
        "tests/api/test_calls.py",
    ),
    Mutant(
        "a call waits for a retry beyond its own time-out",
        CALLS,
        "        if pause >= deadline.left():\n            raise result\n",
        "",
        "tests/api/test_calls.py",
    ),
    Mutant(
        "a character that the server parted in two is lost",
        EVENTS,
        "        text = self._half + text\n",
        "",
        "tests/api/test_sse.py",
    ),
    Mutant(
        "the usage beside a nested answer is lost",
        EVENTS,
        "fields = {**fields, **nested}",
        "fields = nested",
        "tests/api/test_clients.py",
    ),
    Mutant(
        "async: retries come at once, without the pause that the server asked for",
        ASYNC,
        "await asyncio.sleep(step.seconds)",
        "await asyncio.sleep(0)",
        "tests/api/test_failures.py",
    ),
    Mutant(
        "async: a stream may last beyond its time-out",
        ASYNC,
        "failure = deadline.exceeded(request.kind, streaming=True)",
        "failure = None",
        "tests/api/test_sse_peer.py",
    ),
    Mutant(
        "async: a stream that was left holds its connection",
        ASYNC,
        "            await answer.live.aclose()\n",
        "",
        "tests/api/test_clients.py",
    ),
    Mutant(
        "sync: the application's own client is closed with ours",
        SYNC,
        "        if self._own is None:\n            shared().release(self)\n",
        "        if self._own is None:\n            shared().release(self)\n"
        "        else:\n            self._own.close()\n",
        "tests/api/test_clients.py",
    ),
    Mutant(
        "the first model that is closed closes the connections of all",
        CONNECTIONS,
        "            if not held or self._holders or self._open is None:\n",
        "            if not held or self._open is None:\n",
        "tests/api/test_pool.py",
    ),
    Mutant(
        "two addresses take the connections from one another, with a TLS handshake each time",
        POOL,
        "origin = url.raw_scheme + url.netloc",
        'origin = b""',
        "tests/api/test_pool.py",
    ),
    Mutant(
        "what lies in the event loop's buffer behind an answer is the next user's",
        "api/bodies.py",
        "return None if queue is None else bool(queue)",
        "return None if queue is None else False",
        "tests/api/test_bodies.py",
    ),
    Mutant(
        "a connection whose request was cancelled serves the next one, which may wait for ever",
        POOL,
        "            if line.is_spoilt:\n",
        "            if line.is_spoilt and self.is_closed:\n",
        "tests/api/test_pool.py",
    ),
]
