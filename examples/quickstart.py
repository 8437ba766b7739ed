"""One conversation through all that happens to sessions, with LangChain.

It streams, remembers, outlives a session that expires, is edited, and moves on when its session
is full. The application only keeps a list of messages; which session has heard what is the
model's business, and the table at the end shows what it did.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, some 8 credits a run;
without, to an emulator inside this process. Besides the package, it needs rich.
"""

from __future__ import annotations

import json
import os
import sys
from textwrap import shorten
from typing import Any

import httpx
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd

NOTES = """My name is Ada. Here are my notes for a weekend in Lisbon; keep them at hand.
- Friday: landing at 16:40, metro to Baixa, keys from the neighbour before 19:00.
- Friday evening: dinner in Alfama, one vegetarian, then a walk up to the castle walls.
- Saturday: tram 28 before nine, tiles museum until noon, lunch at the river in Belem.
- Saturday afternoon: the tower from outside only, custard tarts, a nap, fado at 21:30.
- Sunday: flea market has no fixed hours, so start early; ferry to Cacilhas and back.
- Sunday evening: bags from the flat by 17:00, flight at 20:15, boarding closes 19:45.
- Money: 420 euros for three, cash for the tram, cards everywhere else; Tom pays back later.
- Rain plan: aquarium on Saturday, bookshops in Chiado, and a long lunch on either day.
- To pack: two adapters, walking shoes, swimwear for the hotel of Tom, a power bank each."""


class Chat:
    """What an application has: a list of messages, and an answer for each question."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.messages: list[BaseMessage] = []
        self.told: list[dict[str, Any]] = []  # what each answer says about itself
        self.in_full = 0  # characters, had every turn sent the whole list

    def say(self, model: ChatStewrd, text: str) -> None:
        """Ask, show the answer as it comes, and keep both."""
        self.messages.append(HumanMessage(text))
        self.in_full += sum(len(message.text) for message in self.messages)
        self.show(f"You    {shorten(text, 66, placeholder=' ...')}\n", "bold")
        head, answer = "Agent  ", AIMessageChunk(content="")
        for chunk in model.stream(self.messages):  # always the whole list, as LangChain does
            self.show(head + chunk.text)
            head = ""
            answer += chunk  # the last chunk has the facts about the answer
        self.show("\n\n")
        self.messages.append(answer)
        self.told.append(answer.response_metadata["stewrd"])

    def show(self, text: str, style: str = "") -> None:
        """Print at once, and without reading markup into what an agent wrote."""
        self.console.print(Text(text, style), end="", soft_wrap=True)


def converse(chat: Chat, emulator: Emulator | None, options: dict[str, Any]) -> None:
    """Eight turns; ``options`` say which Stewrd to talk to."""
    # The name is what finds the session again. Naming the capabilities fixes the price.
    options = {**options, "conversation_id": "weekend", "capabilities": ["chat"]}
    model = ChatStewrd(**options)
    chat.say(model, NOTES)
    chat.say(model, "What is my name?")

    if emulator:
        chat.show("(Now the session expires on the server, as after 30 idle minutes.)\n\n", "dim")
        emulator.expire()
        chat.say(model, "How many questions have I asked?")
    else:
        # Nobody can make a session of the real API expire, and 30 minutes are long. A model
        # that believes that sessions die at once treats this one as if it had.
        chat.show("(For this turn, the session is taken for expired: idle_timeout=0.)\n\n", "dim")
        chat.say(ChatStewrd(**options, idle_timeout=0), "How many questions have I asked?")
    chat.say(model, "And who am I?")

    chat.show("(Now the first message is edited: Ada becomes Grace.)\n\n", "dim")
    chat.messages[0] = HumanMessage(NOTES.replace("Ada", "Grace"))
    chat.say(model, "What is my name?")

    chat.show("(From now on, a session may hold 6 messages instead of 50.)\n\n", "dim")
    small = ChatStewrd(**options, session_message_limit=6)
    chat.say(small, "How many messages have I sent?")
    chat.say(small, "Who am I, by the way?")
    chat.say(small, "What is my name?")


def table_of(told: list[dict[str, Any]]) -> Table:
    """One row for each turn."""
    table = Table(box=SIMPLE, show_edge=False, collapse_padding=True, header_style="bold")
    table.caption = "~ is reckoned from the capabilities, where the answer did not tell its credits"
    table.caption_justify = "left"
    for heading in ("#", "turn", "reason", "road", "session"):
        table.add_column(heading, overflow="fold")
    for heading in ("messages", "credits"):
        table.add_column(heading, justify="right")
    for number, facts in enumerate(told, 1):
        credits, estimated = facts["usage"]["credits"], facts["usage"]["estimated"]
        table.add_row(
            str(number),
            Text(facts["turn"], "green" if facts["turn"] == "continued" else "yellow"),
            facts["reason"],
            facts["road"],
            (facts["session_id"] or "-")[:8],
            str(facts["messages_used"] or "-"),
            f"{'~' if estimated else ''}{'?' if credits is None else credits}",
        )
    return table


def totals(chat: Chat, sent: int) -> str:
    """What the sessions saved."""
    opened = len({facts["session_id"] for facts in chat.told} - {None})
    if not opened:  # as on the free plan
        told = f"each turn was sent whole: {sent:,} characters, with their labels"
        return f"\n0 sessions were opened, so {told}. Sessions would be sent only what is new."
    full = f"where full lists would have been {chat.in_full:,}"
    return f"\n{opened} sessions were opened; {sent:,} characters were sent, {full}."


def main() -> None:
    """Have the conversation, then show what happened to it."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 100  # a pipe has no width of its own
    console.width = min(console.width, 100)
    chat = Chat(console)
    sent: list[int] = []

    def count(request: httpx.Request) -> None:
        body = json.loads(request.content or b"{}")
        sent.append(len(body.get("message", "")))

    # A client of one's own is optional; this one counts what really goes out.
    with httpx.Client(event_hooks={"request": [count]}) as http:
        if os.environ.get("STEWRD_API_KEY"):
            place = os.environ.get("STEWRD_BASE_URL") or "the live API"
            chat.show(f"STEWRD_API_KEY is set: talking to {place}.\n\n", "dim")
            converse(chat, None, {"http_client": http})
        else:
            chat.show("STEWRD_API_KEY is not set: talking to the emulator.\n\n", "dim")
            with Emulator(chunk_delay=0.03) as emulator:
                here = {"api_key": emulator.api_key, "base_url": emulator.url}
                converse(chat, emulator, {"http_client": http, **here})

    console.print(table_of(chat.told))
    console.print(totals(chat, sum(sent)))


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"\n{type(error).__name__}: {error}")
