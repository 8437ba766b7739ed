"""One conversation, served by four worker processes in turn: they share a Redis.

It starts an emulated Stewrd, a Redis and four workers. Each turn goes to another worker, as a
load balancer might send it. Whichever it is, it finds the conversation's session and sends only
what is new; a worker that is killed in the midst costs the session, and nothing else.

It needs no key. Besides the package with its extra `redis`, it needs a redis-server (or
valkey-server) on the PATH.
"""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, messages_from_dict, messages_to_dict
from redis import Redis, RedisError

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

WORKERS = 4
TIMEOUT = 5.0  # seconds for one turn
KILL, WAIT = "(kill)", "(wait)"
SCRIPT = [
    "My name is Ada.",
    "What is my name?",
    "How many questions have I asked?",
    "And who am I?",
    KILL,
    "Who am I?",
    WAIT,
    "What is my name?",
    "How many questions have I asked?",
    "Who am I, then?",
]


def work(requests: Connection, url: str, key: str, store: str) -> None:
    """A worker: it gets a list of messages, and answers with the next one."""
    # A worker that is killed in the midst of a turn holds the conversation's name no longer
    # than its time-out; until then others answer without a session.
    model = ChatStewrd(
        base_url=url, api_key=key, capabilities=["chat"], store=store, timeout=TIMEOUT
    )
    while True:
        listed: list[dict[str, Any]] = requests.recv()
        # Lists travel as JSON between processes, here as in a web service with a database.
        answer = model.invoke(messages_from_dict(listed), conversation_id="ada")
        requests.send(messages_to_dict([answer])[0])


class Worker:
    """A worker's process, and the line to it."""

    def __init__(self, url: str, key: str, store: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.line, its_end = spawn.Pipe()
        arguments = (its_end, url, key, store)
        self.process = spawn.Process(target=work, args=arguments, daemon=True)
        self.process.start()

    def answer(self, messages: list[BaseMessage]) -> BaseMessage:
        """What the worker's model answers."""
        self.line.send(messages_to_dict(messages))
        return messages_from_dict([self.line.recv()])[0]


@contextmanager
def redis_server(program: str) -> Iterator[str]:
    """A Redis on a free port of this machine; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)  # noqa: S603 - a program of this name
        try:
            wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()


def wait_for(port: int) -> None:
    """Wait until a Redis answers."""
    with Redis(port=port) as redis:
        for _ in range(200):
            try:
                redis.ping()
            except RedisError:
                time.sleep(0.05)
            else:
                return
    raise SystemExit("The Redis did not start.")


def converse(emulator: Emulator, store: str) -> None:
    """Each turn by the next worker; one of them is killed on the way."""
    print(f"Starting {WORKERS} workers ...\n")
    workers = [Worker(emulator.url, emulator.api_key, store) for _ in range(WORKERS)]
    print(row("worker", "question", "answer", "turn", "session"))
    messages: list[BaseMessage] = []
    turn = 0
    for said in SCRIPT:
        place = turn % WORKERS
        if said == KILL:
            kill(workers[place], messages, emulator)
            workers[place] = Worker(emulator.url, emulator.api_key, store)
            continue
        if said == WAIT:
            print(f"        (after {TIMEOUT:.0f} seconds its hold on the conversation has ended)")
            time.sleep(TIMEOUT)
            continue
        messages.append(HumanMessage(said))
        answer = workers[place].answer(messages)
        messages.append(answer)
        told = answer.response_metadata["stewrd"]
        session = (told["session_id"] or "-")[:8]
        print(row(str(place + 1), said, answer.text, told["turn"], session))
        turn += 1
    for worker in workers:
        worker.process.kill()


def row(*cells: str) -> str:
    """A line of the table."""
    widths = (8, 34, 50, 11, 8)
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def kill(worker: Worker, messages: list[BaseMessage], emulator: Emulator) -> None:
    """Kill a worker while the server is at work on its turn."""
    emulator.fail_next("slow", on="message", seconds=30.0)
    heard = len(emulator.requests)
    worker.line.send(messages_to_dict([*messages, HumanMessage("Are you there?")]))
    while len(emulator.requests) == heard:
        time.sleep(0.05)
    worker.process.kill()
    worker.process.join()
    print("        (the next worker is killed in the midst of a turn)")


def main() -> None:
    """Start everything, talk, and show what the store holds."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("No redis-server is on the PATH: apt install redis-server, or the like.")
    with Emulator() as emulator, redis_server(program) as store:
        converse(emulator, store)
        print(f"\n{len(emulator.sessions)} sessions were opened by {WORKERS} workers.")
        print(f"\npython -m stewrd_integrations.stores {store}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", "stewrd_integrations.stores", store]
        subprocess.run(command, check=True)  # noqa: S603 - this very package


if __name__ == "__main__":
    main()
