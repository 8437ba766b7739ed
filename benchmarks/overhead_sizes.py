"""Bytes sent, memory kept, time to make a model, time to import: what `overhead.py` weighs."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any, TypeAlias

import httpx
from langchain_openai import ChatOpenAI
from overhead_peers import (
    KEY,
    ROOM,
    LangChain,
    LlamaIndex,
    Peer,
    chat_openai,
    floor,
    fresh_key,
)
from overhead_turns import Place

from stewrd_integrations import StewrdClient
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore

Table: TypeAlias = "dict[str, dict[str, float]]"

CACHED = 300
"""Conversations that fill each cache of addresses."""


# -- bytes -------------------------------------------------------------------------------


def sent(place: Place) -> dict[str, Table]:
    """What conversations of 10, 25 and 100 turns send, with the limits that the API has."""
    url = f"{place.url}/22"

    def fresh(**more: Any) -> dict[str, Any]:
        return {"api_key": fresh_key(), "base_url": url, "store": MemoryStore(), **more}

    makers: dict[str, Callable[[], Peer]] = {
        "ChatStewrd, continued": lambda: LangChain(ChatStewrd(**fresh()), named=True),
        "StewrdLLM, continued": lambda: LlamaIndex(StewrdLLM(**fresh()), named=True),
        "ChatStewrd, stateless": lambda: LangChain(ChatStewrd(**fresh(sessions="never"))),
        "floor, sending the whole list": lambda: floor(url, whole=True),
        "ChatOpenAI": lambda: chat_openai(url),
    }
    table: Table = {}
    for name, make in makers.items():
        table[name] = {}
        for turns in (10, 25, 100):
            heard = conversation(make(), turns, place.url)
            table[name] |= {
                f"{turns} turns, bodies": heard["bodies"],
                f"{turns} turns, with heads": heard["bytes"],
            }
    return {"bytes": table}


def conversation(peer: Peer, turns: int, url: str) -> dict[str, int]:
    """Hold one, and what the server has heard of it."""
    httpx.get(f"{url}/heard")
    who, messages = peer.begin(), peer.listed(1)
    for _ in range(turns):
        messages += [peer.say(messages, who), peer.question()]
    heard: dict[str, int] = httpx.get(f"{url}/heard").json()
    return heard


# -- memory ------------------------------------------------------------------------------


def idle(place: Place) -> dict[str, Table]:
    """Bytes that a conversation holds while nobody speaks, the caller's messages left aside."""
    url, count = f"{place.url}/22", 5 if place.quick else 100
    table: Table = {}
    makers: dict[str, Callable[[MemoryStore], Peer]] = {
        "ChatStewrd": lambda store: LangChain(
            ChatStewrd(api_key=KEY, base_url=url, store=store, **ROOM), named=True
        ),
        "StewrdLLM": lambda store: LlamaIndex(
            StewrdLLM(api_key=KEY, base_url=url, store=store, **ROOM), named=True
        ),
    }
    for name, make in makers.items():
        table[name] = {}
        for turns in (1, 10) if place.quick else (1, 10, 25, 50):
            table[name][f"{turns} turns"] = held(make, count, turns)
    return {"idle": table}


def held(make: Callable[[MemoryStore], Peer], count: int, turns: int) -> float:
    """Bytes that each of some conversations holds, their share of the store's tables included.

    Caches of addresses are full before it is looked at, by another model with a store of its own:
    ours holds 256, those of httpx and Python fewer, and in them a further conversation takes the
    place of another. They are filled while memory is traced: else what takes a place would count,
    and what leaves it would not.
    """

    def speak(peer: Peer, turns: int) -> None:
        who, messages = peer.begin(), peer.listed(1)
        for _ in range(turns):
            messages += [peer.say(messages, who), peer.question()]

    tracemalloc.start()
    other, peer = make(MemoryStore()), make(MemoryStore())
    for _ in range(CACHED):
        speak(other, 1)
    speak(peer, 1)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(count):
        speak(peer, turns)
    gc.collect()
    bytes_held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return bytes_held / count


# -- making ------------------------------------------------------------------------------


def making(place: Place) -> dict[str, Table]:
    """Milliseconds to make a model when one was made before."""
    url = f"{place.url}/22"
    makers: dict[str, Callable[[], Any]] = {
        "ChatStewrd": lambda: ChatStewrd(api_key=KEY, base_url=url),
        "StewrdLLM": lambda: StewrdLLM(api_key=KEY, base_url=url),
        "StewrdClient": lambda: StewrdClient(api_key=KEY, base_url=url),
        "ChatOpenAI": lambda: ChatOpenAI(model="gpt-4o-mini", api_key=lambda: KEY, base_url=url),
        "httpx.Client": httpx.Client,
    }
    times: dict[str, list[float]] = {name: [] for name in makers}
    for make in makers.values():
        make()
    for _ in range(place.rounds * 3):
        for name in random.sample(list(makers), len(makers)):
            began = time.perf_counter()
            makers[name]()
            times[name].append((time.perf_counter() - began) * 1e3)
    return {"making": {name: {"ms": median(found)} for name, found in times.items()}}


# -- imports -----------------------------------------------------------------------------

IMPORTS = {
    "stewrd_integrations": ("import httpx, pydantic", "import stewrd_integrations"),
    "stewrd_integrations.langchain": (
        "import langchain_core.language_models.chat_models, httpx",
        "import stewrd_integrations.langchain",
    ),
    "stewrd_integrations.llama_index": (
        "import llama_index.core, httpx",
        "import stewrd_integrations.llama_index",
    ),
}


def imports(place: Place) -> dict[str, Table]:
    """Milliseconds that an import takes, against what it stands on."""
    times: dict[str, list[float]] = {}
    for number in range(2 if place.quick else place.rounds + 1):
        for statements in IMPORTS.values():
            for statement in statements:
                found = imported(statement)
                if number:  # the first time, files come from the disk
                    times.setdefault(statement, []).append(found)
    table: Table = {}
    for name, (base, ours) in IMPORTS.items():
        ratios = [b / a for a, b in zip(times[base], times[ours], strict=True)]
        table[name] = {
            "stands on": median(times[base]),
            "itself": median(times[ours]),
            "ratio": median(ratios),
        }
    return {"imports": table}


def imported(statement: str) -> float:
    """What ``-X importtime`` says of a statement, without the interpreter's own; milliseconds."""
    # Installed packages have their bytecode beside them; so has the checkout, from the first round.
    setting = {name: os.environ[name] for name in os.environ if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-X", "importtime", "-c", statement]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=setting).stderr  # noqa: S603 - from above
    after_site = told[told.rindex("| site\n") :] if "| site\n" in told else told
    lines = [line.removeprefix("import time:") for line in after_site.splitlines()]
    return sum(int(line.split("|")[0]) for line in lines if line.count("|") == 2) / 1e3
