"""Tools of capabilities in an agent of somebody else's model, as LangChain builds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import InvalidInputError, StewrdError
from stewrd_integrations.langchain import StewrdToolkit, asave_files, save_files
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.beta_decorator.LangChainBetaWarning",
    "ignore::langchain_core._api.deprecation.LangChainPendingDeprecationWarning",
)


class Scripted(BaseChatModel):
    """Another vendor's model: says what a script says, and notes what it is offered and shown."""

    script: list[Any]
    offered: list[str] = []  # noqa: RUF012 - pydantic copies it
    shown: list[list[BaseMessage]] = []  # noqa: RUF012 - the same

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.offered[:] = [tool.name for tool in tools]
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.shown.append(list(messages))
        said = self.script[len(self.shown) - 1]
        message = AIMessage(said) if isinstance(said, str) else AIMessage("", tool_calls=said)
        return ChatResult(generations=[ChatGeneration(message=message)])


def call(capability: str, message: str, id_: str = "1", **more: Any) -> ToolCall:
    arguments = {"message": message, **more}
    return ToolCall(name=f"stewrd_{capability}", args=arguments, id=id_, type="tool_call")


@pytest.fixture
async def toolkit(stewrd: Emulator) -> AsyncIterator[Callable[..., StewrdToolkit]]:
    made: list[StewrdToolkit] = []

    def make(*capabilities: str, **options: Any) -> StewrdToolkit:
        here = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_retries": 0}
        made.append(StewrdToolkit(capabilities, **{**here, **options}))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


def outputs(state: Any) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


ASKED: Any = {"messages": [HumanMessage("Find out, then write it up.")]}


async def run(agent: Any, colour: str, config: Any = None) -> Any:
    return agent.invoke(ASKED, config) if colour == "sync" else await agent.ainvoke(ASKED, config)


colours = pytest.mark.parametrize("colour", ["sync", "async"])


@colours
async def test_an_agent_uses_several_tools(
    stewrd: Emulator, toolkit: Callable[..., StewrdToolkit], colour: str
) -> None:
    model = Scripted(
        script=[
            [call("research", "My name is Ada."), call("data", "Hello", "2")],
            [call("research", "Who am I?", "3")],
            "Done.",
        ]
    )
    agent = create_agent(model, toolkit("research", "data").get_tools())
    state = await run(agent, colour)
    assert state["messages"][-1].text == "Done."
    assert model.offered == ["stewrd_research", "stewrd_data"]
    first, second, third = outputs(state)
    assert [one.tool_call_id for one in (first, second, third)] == ["1", "2", "3"]
    assert third.content == "You have not told me your name."  # calls stand alone
    assert third.artifact["usage"]["credits"] == 3
    assert sorted(run.capabilities for run in stewrd.runs) == [
        ("data",),
        ("research",),
        ("research",),
    ]
    assert stewrd.sessions == {}
    assert stewrd.credits == stewrd.settings.credits - 7


@colours
async def test_an_agent_that_comes_back_finds_its_conversation(
    stewrd: Emulator, toolkit: Callable[..., StewrdToolkit], colour: str
) -> None:
    store, saver = MemoryStore(), InMemorySaver()
    texts = ["My name is Ada.", "My pet is Rex.", "Who am I?", "What is my pet?"]
    answers = []
    for number, text in enumerate(texts):
        if number == 2:
            stewrd.expire()
        tools = toolkit("research", "code", conversation_id="user-7", store=store).get_tools()
        model = Scripted(script=[[call("code" if number % 2 else "research", text)], "Done."])
        agent = create_agent(model, tools, checkpointer=saver)
        state = await run(agent, colour, {"configurable": {"thread_id": "t"}})
        answers.append(outputs(state)[-1])
    assert [answer.content for answer in answers[2:]] == ["Your name is Ada.", "Your pet is Rex."]
    turns = [answer.artifact["turn"] for answer in answers]
    assert turns == ["opened", "continued", "recreated", "continued"]
    assert len(stewrd.sessions) == 2 and stewrd.active_sessions == 1


async def test_progress_shows_in_the_graphs_stream(
    stewrd: Emulator, toolkit: Callable[..., StewrdToolkit]
) -> None:
    def agent() -> Any:
        model = Scripted(script=[[call("research", "Hello")], "Done."])
        return create_agent(model, toolkit("research").get_tools())

    seen = list(agent().stream(ASKED, stream_mode="custom"))
    assert [told["stewrd_progress"]["type"] for told in seen] == ["tool_start", "tool_end"]
    assert {told["stewrd_progress"]["by"] for told in seen} == {"stewrd_research"}
    kinds = [
        (event["name"], event["data"]["type"])
        async for event in agent().astream_events(ASKED, version="v2")
        if event["event"] == "on_custom_event"
    ]
    assert kinds == [("stewrd_progress", "tool_start"), ("stewrd_progress", "tool_end")]


REFUSALS: list[Any] = [
    ({"kind": "error", "status": 402}, "insufficient_credits"),
    ({"kind": "error", "status": 403, "code": "capability_not_enabled"}, "capability_not_enabled"),
    ({"kind": "error", "status": 429, "code": "rate_limited"}, "retryable: yes"),
    ({"kind": "error", "status": 502, "code": "compute_error"}, "retryable: yes"),
    ({"kind": "hang_up", "after": True}, "charged: maybe"),
    ({"kind": "slow"}, "charged: maybe"),
]


@colours
@pytest.mark.parametrize(("fault", "told"), REFUSALS)
async def test_a_failure_reaches_the_model_once(
    stewrd: Emulator,
    toolkit: Callable[..., StewrdToolkit],
    colour: str,
    fault: dict[str, Any],
    told: str,
) -> None:
    stewrd.fail_next(on="agent", times=9, **fault)
    model = Scripted(script=[[call("research", "Hello")], "It did not work."])
    again = ToolRetryMiddleware(max_retries=3, initial_delay=0.0)
    tools = toolkit("research", timeout=1 if fault["kind"] == "slow" else 60).get_tools()
    state = await run(create_agent(model, tools, middleware=[again]), colour)
    assert state["messages"][-1].text == "It did not work."
    (failed,) = outputs(state)
    assert failed.status == "error" and told in str(failed.content)
    assert model.shown[1][-1].content == failed.content
    assert len(stewrd.requests) == 1 and stewrd.pending_faults == 8
    assert stewrd.credits >= stewrd.settings.credits - 3


@colours
async def test_wrong_arguments_reach_the_model(
    stewrd: Emulator, toolkit: Callable[..., StewrdToolkit], colour: str
) -> None:
    wrong = call("research", "Hello", capabilities=["documents"])
    model = Scripted(script=[[wrong], [call("research", "Hello", "2")], "Done."])
    state = await run(create_agent(model, toolkit("research").get_tools()), colour)
    failed, good = outputs(state)
    assert failed.status == "error" and "capabilities: Extra inputs" in str(failed.content)
    assert good.status == "success" and len(stewrd.runs) == 1
    assert stewrd.runs[0].capabilities == ("research",)


def test_files_of_an_agents_tool_can_be_saved(tmp_path: Any) -> None:
    def writes(context: Context) -> Answer:
        return Answer("Here.", files=(File("report.md", "# Lisbon"),))

    with serve(agent=writes) as stewrd:
        toolkit = StewrdToolkit(["documents"], api_key=stewrd.api_key, base_url=stewrd.url)
        model = Scripted(script=[[call("documents", "Write a report")], "Done."])
        state = create_agent(model, toolkit.get_tools()).invoke(ASKED)
        toolkit.close()
    (path,) = save_files(outputs(state)[0], tmp_path)
    assert path.name == "01-report.md" and path.read_text() == "# Lisbon"


async def test_addresses_of_files_are_not_trusted(stewrd: Emulator, tmp_path: Any) -> None:
    file = {"name": "x", "content": None, "url": f"https://localhost:{stewrd.url[-5:]}/x"}
    answer = ToolMessage("Here.", tool_call_id="1", artifact={"files": [file]})
    with pytest.raises(StewrdError, match="not a public server"):
        save_files(answer, tmp_path)
    with pytest.raises(StewrdError, match="not a public server"):
        await asave_files(answer, tmp_path)


async def test_what_has_no_files_is_refused(
    stewrd: Emulator, toolkit: Callable[..., StewrdToolkit], tmp_path: Any, make: Any
) -> None:
    (tool,) = toolkit("research").get_tools()
    answer = tool.invoke(call("research", "Hello"))
    for empty in (answer, answer.artifact, make().invoke("Hello")):
        assert save_files(empty, tmp_path) == await asave_files(empty, tmp_path) == []
    stewrd.fail_next("error", on="agent", status=402)
    failed = tool.invoke(call("research", "Hello"))
    others: list[Any] = [failed, AIMessage("Hi"), {}, {"files": None}, None, "x"]
    for other in others:
        with pytest.raises(InvalidInputError, match="no answer of Stewrd"):
            save_files(other, tmp_path)
        with pytest.raises(InvalidInputError, match="no answer of Stewrd"):
            await asave_files(other, tmp_path)
