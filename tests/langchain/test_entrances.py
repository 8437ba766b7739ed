"""A conversation by every way in, under a name or without one; the server tells what it heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import ConfigurableField

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import InvalidInputError
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.langchain.entrances import lifted
from stewrd_integrations.offers import Offer

from . import entrances
from .conftest import heard, roads
from .entrances import BATCHES, CHAINS, DIRECT, Say, invoke

Make = Callable[..., ChatStewrd]
TEXTS = ["My name is Ada.", "Who am I?", "How many messages have I sent?"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:.*version='v1' is deprecated"),
]


def by_name(says: Iterable[Say]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("say", list(says), ids=lambda say: say.__name__)


async def converse(
    say: Say,
    model: Any,
    *given: Any,
    as_shown: Callable[[BaseMessage], Any] = lambda message: message,
    **who: Any,
) -> list[BaseMessage]:
    """Three turns, each of which shows all that came before."""
    messages: list[BaseMessage] = []
    answers = []
    for text in TEXTS:
        messages.append(HumanMessage(text))
        answers.append(await say(model, [as_shown(message) for message in messages], *given, **who))
        messages.append(answers[-1])
    return answers


def went_well(stewrd: Emulator, answers: list[BaseMessage]) -> None:
    assert [answer.text for answer in answers] == [
        "Nice to meet you, Ada.",
        "Your name is Ada.",
        "You have sent me 3 messages, this one included.",
    ]
    assert heard(stewrd) == [TEXTS]
    turns = [answer.response_metadata["stewrd"]["turn"] for answer in answers]
    assert turns == ["opened", "continued", "continued"]


@by_name([*DIRECT, *BATCHES, *CHAINS, entrances.in_batched_chain])
async def test_named_by_the_constructor(stewrd: Emulator, make: Make, say: Say) -> None:
    went_well(stewrd, await converse(say, make(conversation_id="c")))


@by_name([*DIRECT, *BATCHES, *CHAINS])
async def test_named_by_bind(stewrd: Emulator, model: ChatStewrd, say: Say) -> None:
    went_well(stewrd, await converse(say, model.bind(conversation_id="c")))


@by_name([*DIRECT, *BATCHES])
async def test_named_by_the_call(stewrd: Emulator, model: ChatStewrd, say: Say) -> None:
    went_well(stewrd, await converse(say, model, conversation_id="c"))


@by_name([*DIRECT, *BATCHES, *CHAINS, entrances.in_batched_chain])
@pytest.mark.parametrize("key", ["conversation_id", "session_id"])
async def test_named_by_configurable(
    stewrd: Emulator, model: ChatStewrd, say: Say, key: str
) -> None:
    went_well(stewrd, await converse(say, model, {"configurable": {key: "c"}}))


@by_name([*DIRECT, *BATCHES, *CHAINS])
async def test_named_by_with_config(stewrd: Emulator, model: ChatStewrd, say: Say) -> None:
    configured = model.with_config(configurable={"conversation_id": "c"})
    went_well(stewrd, await converse(say, configured))


@by_name([*DIRECT, *CHAINS])
async def test_without_a_name_by_marks(stewrd: Emulator, model: ChatStewrd, say: Say) -> None:
    went_well(stewrd, await converse(say, model))


@by_name([*DIRECT, *CHAINS])
async def test_without_a_name_by_content(stewrd: Emulator, model: ChatStewrd, say: Say) -> None:
    def bare(message: BaseMessage) -> dict[str, Any]:
        role = "user" if isinstance(message, HumanMessage) else "assistant"
        return {"role": role, "content": message.text}

    went_well(stewrd, await converse(say, model, as_shown=bare))


@by_name([*BATCHES, entrances.in_batched_chain])
async def test_inputs_of_a_batch_without_a_name_stand_alone(
    stewrd: Emulator, model: ChatStewrd, say: Say
) -> None:
    answers = await converse(say, model)
    assert answers[1].text == "Your name is Ada."
    assert stewrd.sessions == {} and roads(stewrd) == ["stateless"] * 3


async def test_each_config_of_a_batch_counts(stewrd: Emulator, model: ChatStewrd) -> None:
    configs: Any = [{"configurable": {"conversation_id": "a"}}, {}]
    model.batch(["My name is Ada.", "My name is Bo."], configs)
    configs[0] = {"configurable": {"conversation_id": "b"}}
    await model.abatch(["One.", "Two."], configs)
    assert sorted(heard(stewrd)) == [["My name is Ada."], ["One."]]
    assert sorted(roads(stewrd)) == ["session", "session", "stateless", "stateless"]


def test_errors_of_a_batch(model: ChatStewrd) -> None:
    answers = model.batch(["Hi", " "], return_exceptions=True)
    assert isinstance(answers[1], InvalidInputError)
    with pytest.raises(InvalidInputError):
        list(model.batch_as_completed(["Hi", " "]))


# -- who wins --------------------------------------------------------------------------


def name_of(model: ChatStewrd, given: Any = None, **who: Any) -> tuple[str, ...]:
    """What the core is told of a call, without making it."""
    call = model._call([HumanMessage("Hi")], None, lifted(given, who), Offer())
    return (str(call.name), str(call.tenant), str(call.sessions), str(call.thread))


def test_precedence(make: Make) -> None:
    model = make(conversation_id="made", tenant="made", sessions="never")
    config = {
        "configurable": {
            "conversation_id": "configured",
            "session_id": "history",
            "tenant": "configured",
            "sessions": "always",
            "thread_id": 7,
        }
    }
    assert name_of(model) == ("made", "made", "never", "None")
    assert name_of(model, config) == ("configured", "configured", "always", "7")
    assert name_of(model, config, conversation_id="said", tenant=None) == (
        "said",
        "configured",
        "always",
        "7",
    ), "None takes no tenant away"
    assert name_of(model, conversation_id=None, tenant=None) == ("made", "made", "never", "None")
    nothing = {"configurable": {"conversation_id": None, "session_id": "history", "tenant": None}}
    assert name_of(model, nothing) == ("history", "made", "never", "None")


def test_the_binding_counts_more_than_the_config(stewrd: Emulator, model: ChatStewrd) -> None:
    config: Any = {"configurable": {"conversation_id": "configured"}}
    first = model.bind(conversation_id="bound").invoke("My name is Ada.", config)
    model.invoke(
        [HumanMessage("My name is Ada."), first, HumanMessage("Who am I?")], conversation_id="bound"
    )
    assert heard(stewrd) == [["My name is Ada.", "Who am I?"]]


@pytest.mark.parametrize("key", ["conversation_id", "tenant", "capabilities", "sessions"])
async def test_a_wrong_value_is_named(model: ChatStewrd, key: str) -> None:
    with pytest.raises(InvalidInputError, match=key):
        await invoke(model, "Hi", {"configurable": {key: {}}})


async def test_capabilities_of_the_call(stewrd: Emulator, make: Make) -> None:
    model = make(capabilities=["chat"])
    model.invoke("Hi")
    model.invoke("Hi", capabilities=["chat", "code"])
    await model.ainvoke("Hi", {"configurable": {"capabilities": ["data"]}})
    assert [run.capabilities for run in stewrd.runs] == [("chat",), ("chat", "code"), ("data",)]


async def test_a_model_with_configurable_fields(stewrd: Emulator, model: ChatStewrd) -> None:
    configurable = model.configurable_fields(tenant=ConfigurableField(id="whose"))
    went_well(stewrd, await converse(invoke, configurable, {"configurable": {"whose": "a"}}))


# -- what core is told -----------------------------------------------------------------


def test_what_traces_show(model: ChatStewrd) -> None:
    params = model._get_invocation_params(stop=["x"], **lifted(None, {"conversation_id": "c"}))
    assert params["conversation_id"] == "c" and params["stop"] == ["x"]
    assert not any("entrance" in name for name in params)


def test_a_cache_keeps_tenants_apart_and_not_threads(stewrd: Emulator, make: Make) -> None:
    model = make(cache=InMemoryCache())
    for thread, tenant in (("1", "a"), ("2", "a"), ("1", "b")):
        model.invoke("Hi", {"configurable": {"thread_id": thread, "tenant": tenant}})
    assert len(stewrd.runs) == 2


async def test_streams_come_piece_by_piece(stewrd: Emulator, make: Make) -> None:
    model = make()
    seen = []
    async for chunk in model.astream("Tell me a few words"):
        seen.append(chunk)
    assert len(seen) > 5


async def test_without_streaming_a_stream_is_one_piece(stewrd: Emulator, make: Make) -> None:
    model = make(disable_streaming=True, conversation_id="c")
    assert len(list(model.stream("My name is Ada."))) == 1
    assert not stewrd.runs[0].stream
    assert len([chunk async for chunk in model.astream("Hi")]) == 1
