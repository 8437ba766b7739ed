"""One conversation under every value of everything that the contract leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from stewrd_integrations.sessions import opening
from stewrd_integrations.stores import MemoryStore

from . import script
from .records import Answered
from .script import BUDGET, LIMIT, SCENES, Play, played, world_of
from .server import Peer
from .unknowns import DEFAULTS, Unknowns, combination, every_other_value, one, possible
from .voices import MAKERS, Loop, Voice
from .world import World

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]  # LlamaIndex's workflows look at every attribute of pydantic's models
Perform = Callable[..., list[Play]]
EVERY = tuple(every_other_value())
FORMS = (script.continued, script.tooled)
TOOLS = (script.tooled, script.worked)
REFUSALS = (script.failed, script.expired, script.crowded, script.poor)
STREAMS = (script.continued, script.abandoned)
TELLING: dict[str, tuple[Callable[[Play], None], ...]] = {
    "expired_body": (script.expired,),
    "expired_status": (script.expired,),
    "idle_from": (script.expired,),
    "limit_body": (script.crowded,),
    "overflow": (script.filled, script.tooled),
    "refused_message": (script.failed,),
    "failed_message": (script.failed,),
    "cut_exchange": (script.failed, script.abandoned),
    "cut_charge": (script.failed, script.abandoned),
    "idempotency": (script.continued, script.failed),
    "session_tools": TOOLS,
    "outputs_enter": TOOLS,
    "outputs_count": TOOLS,
    "outputs_object": TOOLS,
    "run_id": TOOLS,
    "call_ids": TOOLS,
    "calling_message": TOOLS,
    "compute_instance": TOOLS,
    "after_ten_rounds": TOOLS,
    "waiting_run": TOOLS,
    "outputs_keep_alive": TOOLS,
    "expired_session_run": TOOLS,
    "tools_capabilities": TOOLS,
    "kilobyte": TOOLS,
    "tools_with_stream": TOOLS,
    "message_while_waiting": TOOLS,
    "capabilities_left_out": FORMS,
    "short_balance": FORMS,
    "retry_after": (script.failed,),
    "rate_window": (script.continued, script.failed),
    "too_long": (script.filled, script.filed),
    "binary_files": (script.filed,),
    "error_form": REFUSALS,
    "failure_form": REFUSALS,
    "compression": (*FORMS, script.expired),
    "framing": (*FORMS, script.expired, script.failed),
    "keep_alive": (*FORMS, script.expired),
    "token_field": STREAMS,
    "token_pieces": STREAMS,
    "done_form": STREAMS,
    "done_message": STREAMS,
    "progress": STREAMS,
    "stream_answer": STREAMS,
    "newline": STREAMS,
    "sse_extras": STREAMS,
    "sse_borders": STREAMS,
    "sse_end": STREAMS,
}
"""The scenes that can tell how a choice was made; where nothing is said, `FORMS`."""


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def clients(loop: Loop) -> Iterator[dict[str, Any]]:
    """Connections are made once: a TLS context takes longer than a whole scene."""
    sync, asynchronous = httpx.Client(), httpx.AsyncClient()
    yield {"http_client": sync, "http_async_client": asynchronous}
    sync.close()
    loop.run(asynchronous.aclose())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SHORT_WAIT", 0.0)


@pytest.fixture
def perform(loop: Loop, clients: dict[str, Any]) -> Perform:
    """Play some scenes of the script, each in one of these frameworks in turn."""

    def play(world: World, scenes: Any = SCENES, frameworks: tuple[str, ...] = ()) -> list[Play]:
        makers = [MAKERS[name] for name in frameworks]
        numbers = iter(range(1_000))
        with Peer(world) as peer:

            def make(name: str) -> Voice:
                return makers[next(numbers) % len(makers)](
                    loop,
                    {},
                    conversation_id=name,
                    api_key=world.key,
                    base_url=peer.url,
                    store=MemoryStore(),
                    session_message_limit=LIMIT,
                    replay_budget=BUDGET,
                    timeout=30.0,
                    **clients,
                )

            return played(world, make, scenes)

    return play


@pytest.mark.parametrize("framework", MAKERS)
def test_the_script_goes_every_way(perform: Perform, framework: str) -> None:
    """By the defaults; else the rest would prove little."""
    world = world_of(DEFAULTS)
    plays = perform(world, frameworks=(framework,))
    ways = {way for play in plays for way in play.ways}
    known = {"opened", "continued", "replayed", "recreated", "rolled_over", "stateless", "agent"}
    assert ways == known
    assert sum(len(play.raised) for play in plays) == 7
    roads = {done.context.road for done in world.answered if done.context.round}
    assert roads == {"session"}, "sessions take tools"
    assert max(session.count() for session in world.sessions.values()) == LIMIT
    keys = {logged.request.header("authorization") for logged in world.log}
    assert keys == {f"Bearer {world.key}"}


def tooled(world: World) -> list[Answered]:
    """The answers to requests with tools, where a session could be had."""
    return [done for done in world.answered if done.context.ask.tools]


@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize(("name", "value"), EVERY)
def test_one_unknown(perform: Perform, framework: str, name: str, value: str) -> None:
    world = world_of(one(name, value))
    perform(world, TELLING.get(name, FORMS), (framework,))
    if world.unknowns.session_tools in {"accepted", "accepted, without status"}:
        roads = {done.context.road for done in world.answered if done.context.round}
        assert roads <= {"session"}, "the session takes tools, so they are given to it"
        assert not any(done.context.road == "stateless" for done in tooled(world))


@pytest.mark.parametrize("seed", range(30))
def test_many_unknowns(perform: Perform, seed: int) -> None:
    """Any combination, every other scene in either framework."""
    names = list(MAKERS) if seed % 2 else list(MAKERS)[::-1]
    perform(world_of(combination(seed)), frameworks=tuple(names))


@pytest.mark.soak
@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize(("name", "value"), EVERY)
def test_one_unknown_throughout(perform: Perform, framework: str, name: str, value: str) -> None:
    perform(world_of(one(name, value)), frameworks=(framework,))


@pytest.mark.soak
@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("seed", range(1_000, 1_200))
def test_more_unknowns(perform: Perform, framework: str, seed: int) -> None:
    perform(world_of(combination(seed)), frameworks=(framework,))


def test_every_choice_is_told_by_some_scene() -> None:
    named = set(TELLING) | {"status_field", "usage_form", "meta_form", "empties"}
    named |= {"unknown_fields", "json_style", "content_type"}
    assert named == set(Unknowns.__dataclass_fields__)
    assert all(len(possible(name)) > 1 for name in named)
