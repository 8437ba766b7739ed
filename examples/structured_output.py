"""Answers in a form: as a pydantic object, by a tool or in words, alone or of a whole list.

With STEWRD_API_KEY set (and STEWRD_BASE_URL honoured) it talks to that API, some 7 credits a
run; without, to an emulator inside this process. It needs nothing besides the package.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel, Field

from stewrd_integrations import StewrdError
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd


class Trip(BaseModel):
    """A trip, as it goes into the calendar."""

    city: str
    nights: int = Field(ge=1, le=30)


def extract(model: ChatStewrd) -> None:
    """The same form in two ways."""
    text = 'We go to the city "Oslo", nights: 3.'
    # A tool that must be called. The API can't force a form, so the answer is checked; a wrong
    # one is shown its error and asked for once more, and then it is an OutputParserException.
    print("by a tool   ", repr(model.with_structured_output(Trip).invoke(text)))

    # In words, which goes with any capability.
    researcher = model.with_structured_output(
        Trip, method="json_schema", capabilities=["research"], include_raw=True
    )
    told = researcher.invoke(text)
    print("in words    ", repr(told["parsed"]))
    print("            ", told["raw"].response_metadata["stewrd"]["usage"])


def converse(model: ChatStewrd) -> None:
    """A form of what was said so far takes no session, and the conversation goes on."""
    messages: list[BaseMessage] = [HumanMessage('The city is "Rome", and the nights are 5.')]
    messages += [model.invoke(messages, conversation_id="trip")]
    form = model.with_structured_output(Trip, method="json_schema", conversation_id="trip")
    print("of a list   ", repr(form.invoke([*messages, HumanMessage("Put it down, please.")])))
    messages += [HumanMessage("How many messages have I sent?")]
    answer = model.invoke(messages, conversation_id="trip")
    print("and then    ", answer.text, f"({answer.response_metadata['turn']})")


def main() -> None:
    with ExitStack() as stack:
        if os.environ.get("STEWRD_API_KEY"):
            model = ChatStewrd(capabilities=["chat"])
        else:
            print("STEWRD_API_KEY is not set: talking to the emulator.")
            emulator = stack.enter_context(Emulator())
            model = ChatStewrd(
                api_key=emulator.api_key, base_url=emulator.url, capabilities=["chat"]
            )
        extract(model)
        converse(model)


if __name__ == "__main__":
    try:
        main()
    except StewrdError as error:
        sys.exit(f"{type(error).__name__}: {error}")
