"""A conversation that its history keeps: stored, named, continued, and forgotten.

`StewrdChatMessageHistory` keeps the messages in a store and tells the model by itself which
conversation they are of, so no name is passed around. It also shows the session that has heard
them; each conversation numbers its own. Without STEWRD_API_KEY, on the emulator; with it, 4 credits
a run.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import Any

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory


def ask(model: ChatStewrd, history: StewrdChatMessageHistory, question: str) -> None:
    """One turn: what an application does at each request."""
    history.add_user_message(question)
    answer = model.invoke(history.messages)
    history.add_message(answer)
    print(f"\nYou    {question}\nAgent  {answer.text}")
    session = history.session
    print(f"       {history.tenant}'s conversation: {answer.response_metadata['turn']}; ", end="")
    if session is None:
        print("no session")
    else:
        minutes = (session.idle_deadline - datetime.now(timezone.utc)).total_seconds() / 60
        print(
            f"session {session.generation} holds "
            f"{session.messages_used} messages, has room for {session.messages_left},\n"
            f"       and lives {minutes:.0f} minutes more"
        )


def converse(emulator: Emulator | None, options: dict[str, Any]) -> None:
    """Two conversations of one name: they belong to two tenants, and never meet."""
    model = ChatStewrd(capabilities=["chat"], **options)

    def history(tenant: str) -> StewrdChatMessageHistory:
        # Made anew for each request, as in a service: what it keeps is in the store.
        return StewrdChatMessageHistory("holidays", tenant=tenant, **options)

    ask(model, history("ada"), "My name is Ada.")
    ask(model, history("bo"), "What is my name?")
    ask(model, history("ada"), "What is my name?")

    if emulator:
        print("\n(Now the sessions expire on the server, as after 30 idle minutes.)")
        emulator.expire()
        ask(model, history("ada"), "How many messages have I sent?")

    print("\n(Now Ada's conversation is cleared.)")
    history("ada").clear()
    ask(model, history("ada"), "What is my name?")
    print(f"\nKept of ada: {len(history('ada').messages)} messages, of bo:", end=" ")
    print(len(history("bo").messages))
    for tenant in ("ada", "bo"):
        history(tenant).clear()


def main() -> None:
    """Talk to the API that the environment names, or to the emulator."""
    # With store="sqlite:///conversations.db" on all of them, it would outlive the process.
    if os.environ.get("STEWRD_API_KEY"):
        place = os.environ.get("STEWRD_BASE_URL") or "Stewrd"
        print(f"STEWRD_API_KEY is set: talking to {place}.")
        converse(None, {})
    else:
        print("STEWRD_API_KEY is not set: talking to the emulator.")
        with Emulator() as emulator:
            converse(emulator, {"api_key": emulator.api_key, "base_url": emulator.url})


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
