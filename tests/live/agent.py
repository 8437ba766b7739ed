"""The agent of the emulator in this suite: a model that does exactly what it is asked to.

It knows nothing but the conversation that it is shown, tool calls and outputs included.
"""

from __future__ import annotations

import re

from stewrd_integrations.emulator import Answer, Call, Context

_ASKED = re.compile(r"What (?:is|are) my code words? numbers? ([\d and]+)\?")
_COUNTED = re.compile(r"How many times have I told you my code word number (\d+)\?")
_CALLS = re.compile(r"Call the tool (\w+) with the number (\d+)\.")
_LAST = re.compile(r"answer only with the sentence that tells the code word number (\d+)")
_LINE = re.compile(r"first line of the file")


def agent(context: Context) -> Answer:
    """Call what is to be called, or answer the one question."""
    texts = [said.text for said in context.conversation.messages]
    message = next(
        (one.text for one in reversed(context.conversation.messages) if one.role == "user"), ""
    )
    wanted = _CALLS.findall(message)[len(context.results) :] if context.tools else []
    if wanted:
        name, number = wanted[0]
        return Answer("Calling.", calls=[Call(name, {"number": int(number)})])
    return Answer(_answer(message, texts, context))


def _answer(message: str, texts: list[str], context: Context) -> str:
    if asked := _ASKED.search(message):
        numbers = re.findall(r"\d+", asked[1])
        return ", ".join(_word(number, texts) or "NONE" for number in numbers)
    if counted := _COUNTED.search(message):
        told = [each for each in texts if each != message and f"number {counted[1]} is " in each]
        return str(len(told))
    if (last := _LAST.search(message)) and context.results:
        return f"The code word number {last[1]} is {_word(last[1], texts)}."
    if _LINE.search(message) and context.files:
        return (context.files[0].content or "").split("\n")[0]
    return "OK"


def _word(number: str, texts: list[str]) -> str | None:
    found = [re.search(rf"code word number {number} is (\w+)", each) for each in texts]
    return next((match[1] for match in found if match), None)
