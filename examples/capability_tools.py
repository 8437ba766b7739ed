"""Capabilities of a Stewrd project as tools of another model's agent.

The agent here is LangChain's `create_agent`; its model is a stand-in that follows a script, so
that the example runs without any vendor's key: put your own in its place. The tools share one
conversation, so that what research found, the writer knows. Without STEWRD_API_KEY, on the
emulator; with it, 8 credits a run. Besides the package, it needs langchain.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from textwrap import fill
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.langchain import StewrdToolkit, save_files

CALLS = [
    ("stewrd_research", "Which three sights of Lisbon are worth a weekend? One line each."),
    ("stewrd_documents", "Write what you found into a file, lisbon.md, as a list."),
]


class YourModel(BaseChatModel):
    """Stands in for a model of any vendor: it calls one tool after the other, then ends."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:  # noqa: ARG002
        """Every model with tools has this."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        *args: Any,  # noqa: ARG002 - a script needs no more
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        answer = AIMessage("Your weekend is planned.")
        if done < len(CALLS):
            name, task = CALLS[done]
            call = {"name": name, "args": {"message": task}, "id": f"call-{done}"}
            answer = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=answer)])


def plan(options: dict[str, Any]) -> None:
    """Let the agent work, showing what happens as it happens."""
    toolkit = StewrdToolkit(
        ["research", "documents"],
        conversation_id="weekend-plan",
        max_credits=20,  # an agent that runs in circles stops here
        **options,
    )
    for tool in toolkit.get_tools():
        print(fill(f"{tool.name}: {tool.description}", 100, subsequent_indent="    "))

    agent: Any = create_agent(YourModel(), toolkit.get_tools())
    task = {"messages": [("user", "Plan a weekend in Lisbon.")]}
    for mode, told in agent.stream(task, stream_mode=["custom", "updates"]):
        if mode == "custom":
            step = told["stewrd_progress"]  # what a tool is at
            print(f"       at work: {step['by']}, {step['type']}")
        else:
            for update in told.values():
                for message in update["messages"]:
                    show(message)
    toolkit.close()


def show(message: BaseMessage) -> None:
    """One message of the agent, and the files that came with it."""
    if isinstance(message, AIMessage) and message.tool_calls:
        print(f"\nAgent  calls {message.tool_calls[0]['name']}")
    elif isinstance(message, ToolMessage) and message.status == "error":
        print(f"Tool   failed: {message.text}")
    elif isinstance(message, ToolMessage):
        facts = message.artifact
        print("Tool   " + message.text.replace("\n\n", "\n       "))
        print(f"       {facts['turn']}, {facts['usage']['credits']} credits")
        with tempfile.TemporaryDirectory() as folder:
            for path in save_files(message, folder):
                print(f"       saved {path.name}: {path.read_text(encoding='utf-8')!r}")
    else:
        print(f"\nAgent  {message.text}")


def writer(context: Context) -> Answer:
    """What the emulator's agent answers in the place of the real one."""
    if "documents" not in context.capabilities:
        return Answer("The castle, the tiles museum, and the tower of Belem.")
    found = next(said.text for said in context.conversation.messages if said.role == "assistant")
    listed = found.rstrip(".").replace(", and ", ", ").replace(", ", "\n- ")
    return Answer("Here is your list.", files=(File("lisbon.md", f"- {listed}\n"),))


def main() -> None:
    """Talk to the API that the environment names, or to the emulator."""
    if os.environ.get("STEWRD_API_KEY"):
        place = os.environ.get("STEWRD_BASE_URL") or "Stewrd"
        print(f"STEWRD_API_KEY is set: talking to {place}.")
        plan({})
    else:
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        with Emulator(agent=writer) as emulator:
            plan({"api_key": emulator.api_key, "base_url": emulator.url})


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
