"""LangGraph and `RunnableWithMessageHistory`, whose lists are not ours to shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

from .conftest import heard, roads

TEXTS = ["My name is Ada.", "Who am I?", "How many messages have I sent?"]
LAST = "You have sent me 3 messages, this one included."

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings(
        "ignore::langchain_core._api.deprecation.LangChainPendingDeprecationWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
    ),
]


# -- LangGraph -------------------------------------------------------------------------


def compiled(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("model", node)
    graph.add_edge(START, "model")
    return graph.compile(checkpointer=InMemorySaver())


def sync_graph(model: ChatStewrd) -> Any:
    def node(state: MessagesState) -> Any:  # without a config: core finds it in the context
        return {"messages": [model.invoke(state["messages"])]}

    return compiled(node)


def async_graph(model: ChatStewrd) -> Any:
    async def node(state: MessagesState, config: RunnableConfig) -> Any:
        # Python 3.10 loses the context on the way into a task, so the config is passed on.
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    return compiled(node)


def at(thread: str, **configurable: Any) -> Any:
    return {"configurable": {"thread_id": thread, **configurable}}


@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
def test_a_graph(stewrd: Emulator, model: ChatStewrd, who: Any) -> None:
    graph = sync_graph(model)
    for text in TEXTS:
        state = graph.invoke({"messages": [HumanMessage(text)]}, at("t", **who))
    assert heard(stewrd) == [TEXTS] and state["messages"][-1].text == LAST


@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
async def test_an_async_graph(stewrd: Emulator, model: ChatStewrd, who: Any) -> None:
    graph = async_graph(model)
    for text in TEXTS:
        state = await graph.ainvoke({"messages": [HumanMessage(text)]}, at("t", **who))
    assert heard(stewrd) == [TEXTS] and state["messages"][-1].text == LAST


def test_the_name_in_a_graph_is_a_key_and_the_thread_is_none(
    stewrd: Emulator, model: ChatStewrd
) -> None:
    graph = sync_graph(model)
    graph.invoke({"messages": [HumanMessage("My name is Ada.")]}, at("1", conversation_id="c"))
    (named,) = stewrd.sessions
    messages = graph.get_state(at("1")).values["messages"]
    model.invoke([*messages, HumanMessage("Who am I?")], conversation_id="c")
    assert stewrd.runs[-1].session_id == named
    for text in ("One", "Two"):
        model.invoke(text, at("2"))
    assert roads(stewrd)[2:] == ["session", "stateless"]


@pytest.mark.parametrize("who", [{}, {"conversation_id": "c"}], ids=["unnamed", "named"])
async def test_streamed_graphs(stewrd: Emulator, model: ChatStewrd, who: Any) -> None:
    graph, later = sync_graph(model), async_graph(model)
    chunks: list[Any] = []
    for text in TEXTS:
        chunks = [
            chunk
            for chunk, _ in graph.stream(
                {"messages": [HumanMessage(text)]}, at("t", **who), stream_mode="messages"
            )
        ]
        async for _ in later.astream(
            {"messages": [HumanMessage(text)]},
            at("t", tenant="other", **who),
            stream_mode="messages",
        ):
            pass
    assert heard(stewrd) == [TEXTS, TEXTS]
    assert len(chunks) > 3 and all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == LAST


async def test_progress_in_a_streamed_graph(stewrd: Emulator, make: Any) -> None:
    graph = async_graph(make(capabilities=["research"]))
    seen = []
    async for chunk, _ in graph.astream(
        {"messages": [HumanMessage("Hello")]}, at("t"), stream_mode="messages"
    ):
        seen += [p["type"] for p in chunk.response_metadata.get("stewrd_progress", [])]
    assert seen == ["tool_start", "tool_end"]
    state = await graph.aget_state(at("t"))
    assert state.values["messages"][-1].response_metadata["stewrd"]["turn"] == "opened"


def test_a_graph_edits_its_state(stewrd: Emulator, model: ChatStewrd) -> None:
    graph = sync_graph(model)
    state = graph.invoke({"messages": [HumanMessage("My name is Ada.", id="1")]}, at("t"))
    graph.update_state(at("t"), {"messages": [HumanMessage("My name is Bo.", id="1")]})
    state = graph.invoke({"messages": [HumanMessage("Who am I?")]}, at("t"))
    assert state["messages"][-1].text == "Your name is Bo."
    first = state["messages"][0].id
    graph.update_state(at("t"), {"messages": [RemoveMessage(id=first)]})
    state = graph.invoke({"messages": [HumanMessage("Thanks")]}, at("t"))
    assert state["messages"][-1].text == "You are welcome."
    assert [said.text for said in stewrd.runs[-1].conversation.messages][-3:] == [
        "Who am I?",
        "Your name is Bo.",
        "Thanks",
    ]


def test_time_travel(stewrd: Emulator, model: ChatStewrd) -> None:
    graph = sync_graph(model)
    for text in ("My name is Ada.", "My pet is Rex."):
        graph.invoke({"messages": [HumanMessage(text)]}, at("t"))
    early = next(
        state for state in graph.get_state_history(at("t")) if len(state.values["messages"]) == 2
    )
    state = graph.invoke({"messages": [HumanMessage("What is my pet?")]}, early.config)
    assert state["messages"][-1].text == "You have not told me your pet."


# -- histories -------------------------------------------------------------------------


def with_history(model: Any) -> tuple[Any, Callable[[str], InMemoryChatMessageHistory]]:
    from langchain_core.runnables.history import RunnableWithMessageHistory

    histories: dict[str, InMemoryChatMessageHistory] = {}

    def history(session_id: str) -> InMemoryChatMessageHistory:
        return histories.setdefault(session_id, InMemoryChatMessageHistory())

    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | model,
        history,
        input_messages_key="question",
        history_messages_key="history",
    )
    return chain, history


async def test_a_history(stewrd: Emulator, model: ChatStewrd) -> None:
    chain, history = with_history(model)
    ways: list[Any] = [chain.invoke, lambda *given: list(chain.stream(*given)), chain.invoke]
    for way, text in zip(ways, TEXTS, strict=True):
        way({"question": text}, {"configurable": {"session_id": "s"}})
    assert heard(stewrd) == [TEXTS]
    assert history("s").messages[-1].text == LAST
    assert isinstance(history("s").messages[3], AIMessageChunk)


async def test_an_async_history(stewrd: Emulator, model: ChatStewrd) -> None:
    chain, history = with_history(model)
    config: Any = {"configurable": {"session_id": "s"}}
    await chain.ainvoke({"question": TEXTS[0]}, config)
    async for _ in chain.astream({"question": TEXTS[1]}, config):
        pass
    await chain.ainvoke({"question": TEXTS[2]}, config)
    assert heard(stewrd) == [TEXTS] and history("s").messages[-1].text == LAST


def test_two_histories_do_not_meet(stewrd: Emulator, model: ChatStewrd) -> None:
    chain, _ = with_history(model)
    answers: list[BaseMessage] = []
    for session, text in (("a", TEXTS[0]), ("b", TEXTS[1]), ("a", TEXTS[1])):
        answers.append(chain.invoke({"question": text}, {"configurable": {"session_id": session}}))
    assert [answer.text for answer in answers[1:]] == [
        "You have not told me your name.",
        "Your name is Ada.",
    ]
