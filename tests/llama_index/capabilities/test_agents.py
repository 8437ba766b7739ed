"""The tools in agents of somebody else's model, as LlamaIndex builds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.workflow import Context

from stewrd_integrations.emulator import Answer, Emulator, File
from stewrd_integrations.llama_index.events import StewrdProgress
from stewrd_integrations.llama_index.saving import save_files
from stewrd_integrations.llama_index.tools import StewrdToolSpec
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

from .asking import Make

# LlamaIndex's agents look at all that they have, deprecated parts of pydantic included.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


class Scripted(FunctionCallingLLM):
    """Another vendor's model: says what a script says, and notes what it is offered and shown."""

    script: list[Any]
    offered: list[Any] = []  # noqa: RUF012 - pydantic copies it
    shown: list[list[ChatMessage]] = []  # noqa: RUF012 - the same

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    def _prepare_chat_with_tools(self, tools: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        self.offered[:] = [tool.metadata.to_openai_tool()["function"] for tool in tools]
        history = kwargs.get("chat_history") or []
        said = kwargs.get("user_msg")
        return {"messages": [*history, ChatMessage(said)] if said else [*history]}

    def get_tool_calls_from_response(
        self, response: ChatResponse, *args: Any, **kwargs: Any
    ) -> list[ToolSelection]:
        return list(response.raw or [])

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        self.shown.append(list(messages))
        said = self.script[len(self.shown) - 1]
        text, calls = (said, []) if isinstance(said, str) else ("", said)
        message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
        return ChatResponse(message=message, delta=text, raw=calls)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield self.chat(messages)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        async def chunks() -> ChatResponseAsyncGen:
            yield self.chat(messages)

        return chunks()

    def complete(self, *args: Any, **kwargs: Any) -> CompletionResponse:
        raise AssertionError("Agents have conversations.")

    stream_complete = acomplete = astream_complete = complete  # type: ignore[assignment]  # none is called


def tools_of(spec: StewrdToolSpec) -> list[Any]:
    return [*spec.to_tool_list()]


def call(capability: str, message: str, id_: str = "1", **more: Any) -> ToolSelection:
    arguments = {"message": message, **more}
    return ToolSelection(tool_id=id_, tool_name=f"stewrd_{capability}", tool_kwargs=arguments)


async def run(agent: Any, **more: Any) -> tuple[AgentOutput, list[Any]]:
    handler = agent.run("Find out, then write it up.", **more)
    events = [event async for event in handler.stream_events()]
    return await handler, events


def outputs(events: Sequence[Any]) -> list[Any]:
    return [event.tool_output for event in events if isinstance(event, ToolCallResult)]


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_uses_several_tools(stewrd: Emulator, spec: Make, streaming: bool) -> None:
    script = [
        [call("research", "My name is Ada."), call("data", "Hello", "2")],
        [call("research", "Who am I?", "3")],
        "Done.",
    ]
    llm, tools = Scripted(script=script), tools_of(spec("research", "data"))
    agent = FunctionAgent(llm=llm, tools=tools, streaming=streaming)
    answer, events = await run(agent)
    assert answer.response.content == "Done."
    assert [offer["name"] for offer in llm.offered] == ["stewrd_research", "stewrd_data"]
    assert "costs 3 credits" in llm.offered[0]["description"]
    assert len(outputs(events)) == 3 and not any(one.is_error for one in outputs(events))
    third = outputs(events)[-1]
    assert third.content == "You have not told me your name."  # calls stand alone
    assert third.raw_output["usage"]["credits"] == 3
    shown = [message for message in llm.shown[-1] if message.role == MessageRole.TOOL]
    assert sorted(message.additional_kwargs["tool_call_id"] for message in shown) == ["1", "2", "3"]
    assert shown[-1].content == third.content
    assert sorted(run.capabilities for run in stewrd.runs) == [
        ("data",),
        ("research",),
        ("research",),
    ]
    assert stewrd.sessions == {}
    assert stewrd.credits == stewrd.settings.credits - 7


async def test_progress_shows_in_the_agents_stream(stewrd: Emulator, spec: Make) -> None:
    tools = tools_of(spec("research"))
    llm = Scripted(script=[[call("research", "Hello")], "Done."])
    workflow = AgentWorkflow(agents=[FunctionAgent(llm=llm, tools=tools)])
    _, events = await run(workflow)
    told = [event for event in events if isinstance(event, StewrdProgress)]
    assert [(one.type, one.tool, one.by) for one in told] == [
        ("tool_start", "research", "stewrd_research"),
        ("tool_end", "research", "stewrd_research"),
    ]
    assert outputs(events)[0].raw_output["usage"]["credits"] == 3


@pytest.mark.filterwarnings("ignore:Skipping serialization")  # of the agent's own memory
async def test_an_agent_that_comes_back_finds_the_tools_conversation(
    stewrd: Emulator, spec: Make
) -> None:
    store = MemoryStore()
    texts = ["My name is Ada.", "My pet is Rex.", "Who am I?", "What is my pet?"]
    state, answers = None, []
    for number, text in enumerate(texts):
        if number == 2:
            stewrd.expire()
        tools = tools_of(spec("research", "code", conversation_id="user-7", store=store))
        llm = Scripted(script=[[call("code" if number % 2 else "research", text)], "Done."])
        agent = FunctionAgent(llm=llm, tools=tools)
        context = Context.from_dict(agent, state) if state else Context(agent)
        _, events = await run(agent, ctx=context)
        state = context.to_dict()  # what an application keeps of an agent
        answers += outputs(events)
    assert [answer.content for answer in answers[2:]] == ["Your name is Ada.", "Your pet is Rex."]
    turns = [answer.raw_output["turn"] for answer in answers]
    assert turns == ["opened", "continued", "recreated", "continued"]
    assert len(stewrd.sessions) == 2 and stewrd.active_sessions == 1


REFUSALS: list[Any] = [
    ({"kind": "error", "status": 402}, "insufficient_credits"),
    ({"kind": "error", "status": 403, "code": "capability_not_enabled"}, "capability_not_enabled"),
    ({"kind": "error", "status": 429, "code": "rate_limited"}, "retryable: yes"),
    ({"kind": "error", "status": 502, "code": "compute_error"}, "retryable: yes"),
    ({"kind": "hang_up", "after": True}, "charged: maybe"),
    ({"kind": "slow"}, "charged: maybe"),
]


@pytest.mark.parametrize(("fault", "told"), REFUSALS)
async def test_a_failure_reaches_the_model_once(
    stewrd: Emulator, spec: Make, fault: dict[str, Any], told: str
) -> None:
    stewrd.fail_next(on="agent", times=9, **fault)
    llm = Scripted(script=[[call("research", "Hello")], "It did not work."])
    tools = tools_of(spec("research", timeout=1 if fault["kind"] == "slow" else 60))
    answer, events = await run(FunctionAgent(llm=llm, tools=tools))
    assert answer.response.content == "It did not work."
    (failed,) = outputs(events)
    assert failed.is_error and told in failed.content
    assert llm.shown[1][-1].content == failed.content
    assert len(stewrd.requests) == 1 and stewrd.pending_faults == 8


async def test_a_failed_tool_does_not_end_an_agent(stewrd: Emulator, spec: Make) -> None:
    """A `return_direct` tool's output is the agent's answer, if it is one."""
    stewrd.fail_next("error", on="agent", status=402)
    (tool,) = tools_of(spec("research"))
    tool.metadata.return_direct = True
    llm = Scripted(script=[[call("research", "Hello")], [call("research", "Hello")]])
    answer, _ = await run(FunctionAgent(llm=llm, tools=[tool]))
    assert answer.response.content == "Hello! What can I do for you?" and len(llm.shown) == 2


async def test_wrong_arguments_reach_the_model(stewrd: Emulator, spec: Make) -> None:
    wrong = call("research", "Hello", capabilities=["documents"])
    llm = Scripted(script=[[wrong], [call("research", "Hello", "2")], "Done."])
    _, events = await run(FunctionAgent(llm=llm, tools=tools_of(spec("research"))))
    failed, good = outputs(events)
    assert failed.is_error and "capabilities: Extra inputs" in failed.content
    assert not good.is_error and len(stewrd.runs) == 1
    assert stewrd.runs[0].capabilities == ("research",)


@pytest.mark.filterwarnings("ignore:is_running called:DeprecationWarning")  # by LlamaIndex itself
async def test_a_react_agent(stewrd: Emulator, spec: Make) -> None:
    thought = (
        "Thought: I need to look it up.\nAction: stewrd_research\n"
        'Action Input: {"message": "My name is Ada."}'
    )
    llm = Scripted(script=[thought, "Thought: I can answer.\nAnswer: Done."])
    agent = ReActAgent(llm=llm, tools=tools_of(spec("research")))
    answer, events = await run(agent)
    assert answer.response.content == "Done."
    assert outputs(events)[0].content == "Nice to meet you, Ada."
    assert "Observation: Nice to meet you, Ada." in str(llm.shown[1][-1].content)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_model_that_calls_a_tool_by_itself(
    stewrd: Emulator, spec: Make, colour: str
) -> None:
    tools = tools_of(spec("research"))
    llm = Scripted(script=[[call("research", "My name is Ada.")]] * 2)
    for failing in (False, True):
        if failing:
            stewrd.fail_next("error", on="agent", status=402)
        if colour == "sync":
            response = llm.predict_and_call(tools, user_msg="Go")
        else:
            response = await llm.apredict_and_call(tools, user_msg="Go")
        (source,) = response.sources
        assert source.is_error == failing and source.content == str(response)
    assert "stewrd_research failed" in str(response) and len(stewrd.requests) == 2


async def test_files_of_an_agents_tool_can_be_saved(tmp_path: Any) -> None:
    files = (File("report.md", "# Lisbon"),)
    with serve(agent=lambda context: Answer("Here.", files=files)) as stewrd:
        spec = StewrdToolSpec(["documents"], api_key=stewrd.api_key, base_url=stewrd.url)
        llm = Scripted(script=[[call("documents", "Write a report")], "Done."])
        _, events = await run(FunctionAgent(llm=llm, tools=tools_of(spec)))
        await spec.aclose()
    (path,) = save_files(outputs(events)[0], tmp_path)
    assert path.name == "01-report.md" and path.read_text() == "# Lisbon"
