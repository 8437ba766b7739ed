"""Secrets are in no repr, dump, copy or pickle, in nothing that is traced, and in nothing kept.

Secrets are the API key, passwords in a store's URL, encryption keys and the values of headers.
"""

from __future__ import annotations

import copy
import gc
import json
import pickle
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from inspect import BoundArguments
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis
from cryptography.fernet import Fernet
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import ChatMessage
from llama_index_instrumentation import get_dispatcher

from stewrd_integrations import AsyncStewrdClient, StewrdClient
from stewrd_integrations.conversations import Conversation
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import (
    ChatStewrd,
    StewrdChatMessageHistory,
    StewrdTool,
    StewrdToolkit,
)
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory, StewrdToolSpec
from stewrd_integrations.options import Options
from stewrd_integrations.runtime import Runtime
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.stores.redis import RedisStore
from stewrd_integrations.stores.sqlite import SQLiteStore
from tests.redis_server import RedisServer, require

from .searching import USUAL, assert_hidden, found, reached_from

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "hunter2/+correct=horse"
QUOTED = "hunter2%2F%2Bcorrect%3Dhorse"
HEADER = "Zx81-header-value-of-a-proxy"
SEALING = Fernet.generate_key().decode()
URL = f"redis://user:{QUOTED}@localhost:1/0"
ALL = {"key": USUAL, "password": PASSWORD, "header": HEADER, "sealing": SEALING}


def assert_all_hidden(places: Any) -> None:
    """None of the secrets is in any of the places."""
    shown = list(places)
    for secret in ALL.values():
        assert_hidden(secret, shown)


def given(**more: Any) -> dict[str, Any]:
    return {
        "api_key": USUAL,
        "base_url": "http://127.0.0.1:9",
        "store": URL,
        "default_headers": {"X-Proxy-Key": HEADER},
        **more,
    }


def few(**more: Any) -> dict[str, Any]:
    """The options that a memory has."""
    kept = ("api_key", "base_url", "store")
    return {name: value for name, value in given(**more).items() if name in kept}


THINGS: dict[str, Callable[[], Any]] = {
    "ChatStewrd": lambda: ChatStewrd(**given()),
    "ChatStewrd, a callable": lambda: ChatStewrd(**given(api_key=lambda: USUAL)),
    "ChatStewrd, bound": lambda: ChatStewrd(**given()).bind(conversation_id="c"),
    "ChatStewrd, in a form": lambda: ChatStewrd(**given()).with_structured_output({"title": "a"}),
    "ChatStewrd, with tools": lambda: ChatStewrd(**given()).bind_tools([]),
    "StewrdLLM": lambda: StewrdLLM(**given()),
    "StewrdLLM, a callable": lambda: StewrdLLM(**given(api_key=lambda: USUAL)),
    "StewrdTool": lambda: StewrdTool(["chat"], **given()),
    "StewrdTool, a conversation": lambda: StewrdTool(["chat"], conversation_id="c", **given()),
    "StewrdToolkit": lambda: StewrdToolkit(**given()),
    "StewrdToolkit's tools": lambda: StewrdToolkit(**given()).get_tools(),
    "StewrdToolSpec": lambda: StewrdToolSpec(**given()),
    "StewrdToolSpec's tools": lambda: StewrdToolSpec(**given()).to_tool_list(),
    "StewrdChatMessageHistory": lambda: StewrdChatMessageHistory("c", **few()),
    "StewrdMemory": lambda: StewrdMemory.from_defaults(conversation_id="c", **few()),
    "Conversation": lambda: Conversation(Options(conversation_id="c", **given())),
    "Runtime": lambda: Runtime(Options(**given())),
    "StewrdClient": lambda: StewrdClient(api_key=USUAL, default_headers={"X": HEADER}),
    "AsyncStewrdClient": lambda: AsyncStewrdClient(api_key=USUAL, default_headers={"X": HEADER}),
    "RedisStore": lambda: RedisStore(URL),
    "RedisStore, sealed": lambda: RedisStore(URL, encryption_key=SEALING),
}
every = pytest.mark.parametrize("name", THINGS)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STEWRD_API_KEY", "STEWRD_BASE_URL", "STEWRD_STORE"):
        monkeypatch.delenv(name, raising=False)


def shown_by(thing: Any) -> Iterator[tuple[str, str]]:
    """What a thing tells of itself, as people, loggers and frameworks ask it."""
    yield "repr", f"{thing!r} {[thing]!r}"
    if not isinstance(thing, StewrdChatMessageHistory):  # whose text are its messages
        yield "str", f"{thing} {thing!s}"
    for method in ("model_dump", "model_dump_json", "to_dict", "to_json", "dict", "json"):
        dump = getattr(thing, method, None)
        # A tool's schema is a class, which JSON has no place for.
        if callable(dump) and not (isinstance(thing, StewrdTool) and "json" in method):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # some of them are deprecated, and used
                yield method, str(dump())
    for method in ("_identifying_params", "lc_attributes", "lc_secrets", "metadata", "args"):
        yield method, repr(getattr(thing, method, None))


@every
def test_reprs_and_dumps(name: str) -> None:
    thing = THINGS[name]()
    assert_all_hidden(shown_by(thing))
    if name in ("Conversation", "Runtime"):
        return  # nobody copies them: they stand behind what users have
    for copied in (copy.copy(thing), copy.deepcopy(thing)):
        assert_all_hidden(shown_by(copied))


@every
def test_objects_that_are_reached_by_the_garbage_collector(name: str) -> None:
    """By their reprs, as memory profilers and debuggers show them."""
    thing = THINGS[name]()
    assert_all_hidden(
        (f"{number} {kind}", text) for number, (kind, text) in enumerate(reprs(thing))
    )


def reprs(thing: Any) -> Iterator[tuple[str, str]]:
    # Dictionaries of options show what is in them: those of headers and addresses are the user's.
    for kind, text in reached_from(thing):
        if kind not in ("dict", "tuple", "list", "str", "function"):
            yield kind, text


@pytest.mark.parametrize("kind", [ChatStewrd, StewrdLLM])
def test_a_key_is_in_no_pickle_and_no_dictionary(kind: Any) -> None:
    model = kind(**given(store="memory://", default_headers=None))
    assert_hidden(USUAL, [("pickle", pickle.dumps(model)), ("vars", repr(vars(model)))])
    assert_hidden(USUAL, [("items", repr(list(model)))])


@pytest.mark.parametrize("name", ["StewrdClient", "AsyncStewrdClient", "RedisStore, sealed"])
def test_what_can_only_work_with_its_secret_refuses_to_be_pickled(name: str) -> None:
    with pytest.raises(ValueError, match="can't be pickled") as caught:
        pickle.dumps(THINGS[name]())
    assert_all_hidden([("error", repr(vars(caught.value)) + str(caught.value))])


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_what_langchain_writes_down() -> None:
    model = ChatStewrd(**given())
    for thing in (model, model.bind(stop=["x"]), StewrdTool(["chat"], **given())):
        assert_all_hidden([("dumpd", json.dumps(dumpd(thing))), ("dumps", dumps(thing))])
    assert_all_hidden([("schema", json.dumps(model.get_output_jsonschema()))])
    assert_all_hidden([("invocation", repr(model._get_invocation_params()))])
    assert_all_hidden([("cache key", model._get_llm_string())])


# -- what is traced --------------------------------------------------------------------


class Everything(BaseCallbackHandler):
    """Keeps all that any callback is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        kept = self.given

        def callback(*args: Any, **kwargs: Any) -> None:
            kept.append((f"{name} {len(kept)}", repr((args, kwargs))))

        return callback


class Tracer(BaseTracer):
    """Keeps runs as LangSmith's tracer sends them: inputs, outputs, extra, serialized, error."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[str, str]] = []

    def _persist_run(self, run: Run) -> None:
        payload = run.model_dump() if hasattr(run, "model_dump") else run.dict()
        self.runs.append((f"run {len(self.runs)}", json.dumps(payload, default=repr)))


def test_what_langchain_traces() -> None:
    everything, tracer = Everything(), Tracer()
    config: Any = {"callbacks": [everything, tracer], "metadata": {"user": "ada"}}
    with Emulator(api_key=USUAL) as emulator:
        options = given(base_url=emulator.url, store="memory://", max_retries=0)
        model = ChatStewrd(**options)
        model.invoke("My name is Ada.", config)
        list(model.stream("What is my name?", config))
        StewrdTool(["chat"], **options).invoke({"message": "Hi"}, config)
        emulator.fail_next("error", on="any", status=500, times=9)
        with pytest.raises(Exception, match="HTTP 500"):
            model.invoke("again", config)
        model.close()
    names = {name.split()[0] for name, _ in everything.given}
    assert {"on_chat_model_start", "on_llm_end", "on_llm_error", "on_tool_start"} <= names
    assert len(tracer.runs) == 4
    assert_all_hidden([*everything.given, *tracer.runs])


class Events(BaseEventHandler):
    """Keeps LlamaIndex's events."""

    kept: ClassVar[list[tuple[str, str]]] = []

    def handle(self, event: Any, **kwargs: Any) -> None:
        """Keep one, as exporters write it down."""
        told = f"{event!r} {event.model_dump()!r} {kwargs!r}"
        self.kept.append((f"{event.class_name()} {len(self.kept)}", told))


class Spans(SimpleSpanHandler):
    """Keeps LlamaIndex's spans, with what a call was bound to."""

    def new_span(self, id_: str, bound_args: BoundArguments, *rest: Any, **more: Any) -> Any:
        """Keep what the span begins with; it is the part that exporters show."""
        told = f"{id_} {bound_args!r} {rest!r} {more!r}"
        Events.kept.append((f"span {len(Events.kept)}", told))
        return super().new_span(id_, bound_args, *rest, **more)


def test_what_llama_index_traces() -> None:
    Events.kept.clear()
    root, debug = get_dispatcher(), LlamaDebugHandler(print_trace_on_end=False)
    handlers = (list(root.event_handlers), list(root.span_handlers))
    root.add_event_handler(Events())
    root.add_span_handler(spans := Spans())
    try:
        with Emulator(api_key=USUAL) as emulator:
            options = given(base_url=emulator.url, store="memory://", max_retries=0)
            llm = StewrdLLM(**options, callback_manager=CallbackManager([debug]))
            memory = StewrdMemory.from_defaults(conversation_id="c", **few(**options))
            engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
            engine.chat("My name is Ada.")
            list(llm.stream_chat([ChatMessage("Hi")]))
            llm.complete("Hi")
            emulator.fail_next("error", on="any", status=500, times=9)
            with pytest.raises(Exception, match="HTTP 500"):
                llm.chat([ChatMessage("again")])
            llm.close()
    finally:
        root.event_handlers, root.span_handlers = handlers
    assert len(Events.kept) > 8
    ended = [*spans.completed_spans, *spans.dropped_spans]
    assert ended
    told = [(f"ended {number}", repr(span.model_dump())) for number, span in enumerate(ended)]
    pairs = [event for pair in debug.get_llm_inputs_outputs() for event in pair]
    told += [(f"debug {number}", repr(vars(event))) for number, event in enumerate(pairs)]
    assert_all_hidden([*Events.kept, *told])


# -- what is kept ----------------------------------------------------------------------


def talk(store: Any, emulator: Emulator) -> None:
    """One of everything that a store keeps, with both frameworks."""
    options = {"api_key": USUAL, "base_url": emulator.url, "store": store}
    with ChatStewrd(**options, conversation_id="ada") as model:
        messages: list[BaseMessage] = [HumanMessage("My name is Ada.")]
        messages += [model.invoke(messages), HumanMessage("What is my name?")]
        model.invoke(messages)
    history = StewrdChatMessageHistory("bob", **options)
    history.add_user_message("I am Bob.")
    with StewrdLLM(**options) as llm:
        memory = StewrdMemory.from_defaults(conversation_id="eve", **options)
        SimpleChatEngine.from_defaults(llm=llm, memory=memory).chat("I am Eve.")
        assert_hidden(USUAL, [("memory", memory.to_json())])


def test_a_file_of_sqlite(tmp_path: Path) -> None:
    with Emulator(api_key=USUAL) as emulator:
        talk(SQLiteStore(tmp_path / "plain.db"), emulator)
        talk(SQLiteStore(tmp_path / "sealed.db", encryption_key=SEALING), emulator)
    places = [(path.name, path.read_bytes()) for path in tmp_path.iterdir()]
    with closing(sqlite3.connect(tmp_path / "plain.db")) as file:
        places.append(("dump", "\n".join(file.iterdump()).encode()))
    assert any(b"I am Bob." in kept for _, kept in places)
    assert_all_hidden(places)
    assert not any(found(SEALING, kept) for _, kept in places)
    assert not [name for name, kept in places if "sealed" in name and b"I am Bob." in kept]


def test_a_memory_store() -> None:
    store = MemoryStore()
    with Emulator(api_key=USUAL) as emulator:
        talk(store, emulator)
    kept = list(every_string(vars(store)))
    assert any("I am Bob." in text for text in kept)
    assert_all_hidden([("repr", repr(store)), ("pickle", repr(pickle.dumps(store)))])
    assert_all_hidden(enumerate(kept))


def every_string(thing: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Every text that is reached from a store, which is all that it keeps."""
    seen = set() if seen is None else seen
    for behind in gc.get_referents(thing):
        if id(behind) in seen or isinstance(behind, type) or callable(behind):
            continue
        seen.add(id(behind))
        if isinstance(behind, str):
            yield behind
        else:
            yield from every_string(behind, seen)


def test_a_dump_of_redis() -> None:
    require()
    with RedisServer() as server, Emulator(api_key=USUAL) as emulator:
        with redis.Redis.from_url(server.url) as raw:
            raw.config_set("requirepass", PASSWORD)
        url = server.url.replace("redis://", f"redis://:{QUOTED}@")
        for store in (
            RedisStore(url, timeout=20.0),
            RedisStore(url, namespace="s", encryption_key=SEALING, timeout=20.0),
        ):
            talk(store, emulator)
            store.close()
        with redis.Redis.from_url(url) as raw:
            names = raw.keys("*")
            places = [(repr(name), name + (raw.dump(name) or b"")) for name in names]
            assert raw.save()
            raw.connection_pool.disconnect()
        folder = server._folder
        places += [(path.name, path.read_bytes()) for path in folder.rglob("*.rdb")]
    assert len(names) > 6
    assert_all_hidden(places)


def test_recordings() -> None:
    """Whatever is kept of conversations beside the tests holds no key of Stewrd's form."""
    files = [path for path in (ROOT / "cassettes").rglob("*") if path.is_file()]
    files += [path for path in (ROOT / "tests").rglob("*.yaml") if path.is_file()]
    leaks = re.compile(rb"sk-stw_(?!\*|\[|x+\b)|(?i:authorization\W+bearer\s+\S)")
    assert not [path.name for path in files if leaks.search(path.read_bytes())]
