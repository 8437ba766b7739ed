"""A LangGraph graph with a memory: it stops for a human, outlives a restart, and is forked.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, some 4 credits a
run; without, to an emulator inside this process. Besides the package, it needs langgraph and
langgraph-checkpoint-sqlite.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

THREAD: Any = {"configurable": {"thread_id": "1"}}


@tool
def send_mail(to: str) -> str:
    """Send a mail to somebody, once a human has agreed."""
    return f"sent to {to}" if interrupt(f"Send a mail to {to}?") == "yes" else "not sent"


def graph_of(options: dict[str, Any], saver: SqliteSaver) -> Any:
    """A model and its tools, with nothing in memory but what the saver keeps."""
    model = ChatStewrd(**options, capabilities=["chat"]).bind_tools([send_mail])

    def call_model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode([send_mail]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=saver)


def tell(state: dict[str, Any]) -> None:
    """Print the last answer, and how it travelled."""
    answer = state["messages"][-1]
    told = answer.response_metadata["stewrd"]
    print(f"Agent  {answer.text}\n       ({told['turn']}: {told['reason']})")


def say(graph: Any, text: str, config: Any = THREAD) -> dict[str, Any]:
    """Say something on a thread."""
    print(f"\nYou    {text}")
    state: dict[str, Any] = graph.invoke({"messages": [HumanMessage(text)]}, config)
    return state


def converse(options: dict[str, Any], path: str) -> None:
    """Four turns, the second of which waits for a human while the program begins anew."""
    with SqliteSaver.from_conn_string(path) as saver:
        graph = graph_of(options, saver)
        tell(say(graph, "My name is Ada."))
        before = graph.get_state(THREAD).config
        state = say(graph, 'send_mail to "Bo"')
        print(f"Human? {state['__interrupt__'][0].value}  (the graph stops; a new one goes on)")
    with SqliteSaver.from_conn_string(path) as saver:
        graph = graph_of(options, saver)
        tell(graph.invoke(Command(resume="yes"), THREAD))
        tell(say(graph, "What is my name?"))
        print("\n(Now from the point before the mail: this branch never hears of it.)")
        tell(say(graph, "How many messages have I sent?", before))


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        path = str(Path(folder) / "graph.db")
        if os.environ.get("STEWRD_API_KEY"):
            converse({}, path)
            return
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        emulator = stack.enter_context(Emulator(session_tools="accepted"))
        converse({"api_key": emulator.api_key, "base_url": emulator.url}, path)


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
