"""Where a conversation may have been between two turns: each framework's own serialisers.

A journey gives the messages as they come back. `WHOLE` journeys keep everything; after a `LOSSY`
one the marks, the metadata and the files of answers are gone.
"""

from __future__ import annotations

import copy
import json
import pickle
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    ToolMessage,
    convert_to_messages,
    convert_to_openai_messages,
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.workflow import JsonPickleSerializer, JsonSerializer

from .talks import Framework
from .voices import VOICES

Journey: TypeAlias = Callable[[Sequence[Any]], list[Any]]


def pickled(held: Sequence[Any]) -> list[Any]:
    """As a queue or a cache keeps them."""
    return list(pickle.loads(pickle.dumps(list(held))))  # noqa: S301 - our own


def copied(held: Sequence[Any]) -> list[Any]:
    """As a state that is branched."""
    return copy.deepcopy(list(held))


# -- LangChain ---------------------------------------------------------------------------


def dumped(held: Sequence[BaseMessage]) -> list[Any]:
    """`dumpd` and `load`; core calls the latter a beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast("list[Any]", load(dumpd(list(held)), allowed_objects="messages"))


def dumped_as_text(held: Sequence[BaseMessage]) -> list[Any]:
    """`dumps` and `loads`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast("list[Any]", loads(dumps(list(held)), allowed_objects="messages"))


def dicts(held: Sequence[BaseMessage]) -> list[Any]:
    """As most databases of messages keep them."""
    return list(messages_from_dict(json.loads(json.dumps(messages_to_dict(held)))))


def no_chunks(held: Sequence[BaseMessage]) -> list[Any]:
    """Chunks as whole messages."""
    return [
        message_chunk_to_message(one) if isinstance(one, BaseMessageChunk) else one for one in held
    ]


def checkpointed(held: Sequence[BaseMessage]) -> list[Any]:
    """LangGraph's saver in memory."""
    return _checkpointed("memory", held)


def checkpointed_in_sqlite(held: Sequence[BaseMessage]) -> list[Any]:
    """LangGraph's saver in SQLite."""
    return _checkpointed("sqlite", held)


def _checkpointed(saver: str, held: Sequence[BaseMessage]) -> list[Any]:
    graph, threads = _graph(saver)
    threads.append(0)
    config: Any = {"configurable": {"thread_id": str(len(threads))}}
    graph.invoke({"messages": list(held)}, config)
    back: list[Any] = graph.get_state(config).values["messages"]
    graph.checkpointer.delete_thread(str(len(threads)))
    return back


@cache
def _graph(saver: str) -> tuple[Any, list[int]]:
    savers: dict[str, Callable[[], BaseCheckpointSaver[Any]]] = {
        "memory": InMemorySaver,
        "sqlite": lambda: SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False)),
    }
    graph = StateGraph(MessagesState)
    graph.add_node("nothing", lambda _: {})
    graph.add_edge(START, "nothing")
    return graph.compile(checkpointer=savers[saver]()), []


def in_openais_form(held: Sequence[BaseMessage]) -> list[Any]:
    """What a web page sends back; files have no place there, so such messages stay."""
    return [
        message if isinstance(message.content, list) else _in_openais_form(message)
        for message in held
    ]


def _in_openais_form(message: BaseMessage) -> BaseMessage:
    (back,) = convert_to_messages([convert_to_openai_messages(message)])
    if isinstance(message, ToolMessage) and isinstance(back, ToolMessage):
        back.status = message.status  # an application that tells of failures keeps them
    return back


def as_tuples(held: Sequence[BaseMessage]) -> list[Any]:
    """Roles and texts, where there is nothing else."""
    return [
        AIMessage(one.text) if isinstance(one, AIMessage) and not one.tool_calls else bared
        for one, bared in zip(held, VOICES["langchain"].bare(held), strict=True)
    ]


# -- LlamaIndex --------------------------------------------------------------------------


def models(held: Sequence[ChatMessage]) -> list[Any]:
    """`model_dump` and `model_validate`."""
    return [ChatMessage.model_validate(message.model_dump()) for message in held]


def as_json(held: Sequence[ChatMessage]) -> list[Any]:
    """`model_dump_json` and `model_validate_json`."""
    return [ChatMessage.model_validate_json(message.model_dump_json()) for message in held]


def _store_of(held: Sequence[ChatMessage]) -> dict[str, Any]:
    # What SimpleChatStore writes. It does so itself where pydantic is older than 2.14; with that
    # one its own serialiser fails, whatever the messages.
    lines = [message.model_dump(mode="json") for message in held]
    return {"store": {"chat_history": lines}, "class_name": "SimpleChatStore"}


def in_a_chat_store(held: Sequence[ChatMessage]) -> list[Any]:
    """A `SimpleChatStore` that was persisted in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chats.json"
        path.write_text(json.dumps(_store_of(held)))
        return SimpleChatStore.from_persist_path(str(path)).get_messages("chat_history")


def in_a_buffer(held: Sequence[ChatMessage]) -> list[Any]:
    """A `ChatMemoryBuffer` as text."""
    told = {
        "token_limit": 1_000_000,
        "chat_store": _store_of(held),
        "chat_store_key": "chat_history",
        "class_name": "ChatMemoryBuffer",
    }
    return ChatMemoryBuffer.from_string(json.dumps(told)).get_all()


def in_a_context(held: Sequence[ChatMessage]) -> list[Any]:
    """A workflow's context as JSON."""
    serializer = JsonSerializer()
    return cast("list[Any]", serializer.deserialize(serializer.serialize(list(held))))


def in_a_pickled_context(held: Sequence[ChatMessage]) -> list[Any]:
    """A workflow's context as JSON with pickles."""
    serializer = JsonPickleSerializer()
    return cast("list[Any]", serializer.deserialize(serializer.serialize(list(held))))


def roles_and_texts(held: Sequence[ChatMessage]) -> list[Any]:
    """What a web page sends back, calls included."""
    return VOICES["llama_index"].bare(held)


WHOLE: dict[Framework, tuple[Journey, ...]] = {
    "langchain": (
        *(pickled, copied, dumped, dumped_as_text, dicts, no_chunks),
        *(checkpointed, checkpointed_in_sqlite),
    ),
    "llama_index": (
        *(pickled, copied, models, as_json, in_a_chat_store, in_a_buffer, in_a_context),
        in_a_pickled_context,
    ),
}
LOSSY: dict[Framework, tuple[Journey, ...]] = {
    "langchain": (in_openais_form, as_tuples),
    "llama_index": (roles_and_texts,),
}
