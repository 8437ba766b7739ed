"""A small conversation through each framework's model: the library itself, on this server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from stewrd_integrations.errors import StewrdError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.stores import MemoryStore

from ..lab import Lab, asking
from ..questions import Question, Study, one_of

Say = Callable[[str, bool], tuple[str, dict[str, Any]]]
GOOD = "opened, continued, continued; remembered"


def _models(lab: Lab) -> None:
    for name, make in (("langchain", _langchain), ("llama_index", _llama_index)):
        question = f"{name}.conversation"
        try:
            lab.found(question, _talk(lab, make(lab)), how="Through the library; bodies not kept.")
        except StewrdError as error:
            lab.unclear(question, f"{type(error).__name__}: {error}")


def _talk(lab: Lab, say: Say) -> str:
    word = lab.word()
    said = [(word.message, False), ("Answer only with: OK", True), (asking(word), False)]
    turns, answer = [], ""
    for text, streamed in said:
        lab.line.afford(1)
        answer, told = say(text, streamed)
        turns.append(f"{told['turn']}")
        lab.line.spend(told["usage"]["credits"] or 0)
    known = "remembered" if word.token in answer.lower() else "not remembered"
    return f"{', '.join(turns)}; {known}"


def _options(lab: Lab) -> dict[str, Any]:
    return {
        "api_key": lab.target.key,
        "base_url": lab.target.address,
        "capabilities": ["chat"],
        "conversation_id": "live",
        "store": MemoryStore(),
        "max_retries": 0,
        "http_client": lab.line.http,
    }


def _langchain(lab: Lab) -> Say:
    model, shown = ChatStewrd(**_options(lab)), list[Any]()

    def say(text: str, streamed: bool) -> tuple[str, dict[str, Any]]:
        shown.append(HumanMessage(text))
        if streamed:
            first, *rest = model.stream(shown)
            for chunk in rest:
                first += chunk
            shown.append(first)
        else:
            shown.append(model.invoke(shown))
        return shown[-1].text, shown[-1].response_metadata["stewrd"]

    return say


def _llama_index(lab: Lab) -> Say:
    model, shown = StewrdLLM(**_options(lab)), list[ChatMessage]()

    def say(text: str, streamed: bool) -> tuple[str, dict[str, Any]]:
        shown.append(ChatMessage(text))
        answer = list(model.stream_chat(shown))[-1] if streamed else model.chat(shown)
        shown.append(answer.message)
        return answer.message.content or "", answer.additional_kwargs["stewrd"]

    return say


def _question(name: str, model: str) -> Question:
    text = f"Does {model} have a first turn, a streamed one and one that asks back on one session?"
    return Question(f"{name}.conversation", text, GOOD, one_of(GOOD), "look at the turns")


MODELS = Study(
    "models",
    (_question("langchain", "ChatStewrd"), _question("llama_index", "StewrdLLM")),
    _models,
    credits=8,
    requests=10,
    sessions=2,
)
