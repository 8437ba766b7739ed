"""`StewrdTool` and `StewrdToolkit`: what other models are told, and what the server hears."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import ValidationError

from stewrd_integrations.emulator import Answer, Context, Emulator, File
from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.langchain import StewrdChatMessageHistory, StewrdTool, StewrdToolkit
from stewrd_integrations.langchain.capabilities import ABOUT, Question
from stewrd_integrations.langchain.tools import ToolOptions
from stewrd_integrations.runtime import OPTION_NAMES
from stewrd_integrations.stores import MemoryStore
from stewrd_integrations.types import CAPABILITIES, CREDITS

from .conftest import heard
from .test_configured import check_hygiene

Make: TypeAlias = Callable[..., StewrdTool]
KEY = "sk-stw_" + "s3cret" * 4
NOWHERE: Any = {"api_key": KEY, "base_url": "http://127.0.0.1:9"}
EXAMPLE: Any = {
    "message": "How many lines has this file?",
    "files": [{"name": "a.csv", "content": "x,y\n1,2\n"}],
}


# -- LangChain's own suites ------------------------------------------------------------


class TestUnit(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return StewrdTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"capabilities": ["research"], **NOWHERE}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(EXAMPLE)

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        given = {"capabilities": ["data"]}
        return {"STEWRD_API_KEY": KEY}, given, {"name": "stewrd_data", "capabilities": ("data",)}


class TestUnitOfConversations(TestUnit):
    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"capabilities": ["code", "data"], "conversation_id": "c", **NOWHERE}


class TestIntegration(ToolsIntegrationTests):
    own: ClassVar[Any] = {}

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with Emulator() as self._stewrd:
            yield

    @pytest.fixture
    async def tool(self) -> AsyncIterator[BaseTool]:
        tool = StewrdTool(**self.tool_constructor_params)
        yield tool
        await tool.aclose()

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return StewrdTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        here = {"api_key": self._stewrd.api_key, "base_url": self._stewrd.url}
        return {"capabilities": ["research"], "store": MemoryStore(), **here, **self.own}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(EXAMPLE)


class TestIntegrationOfConversations(TestIntegration):
    own: ClassVar[Any] = {"conversation_id": "c", "capabilities": ["chat", "files"]}


# -- stage -----------------------------------------------------------------------------


@pytest.fixture
async def tool(stewrd: Emulator) -> AsyncIterator[Make]:
    made: list[StewrdTool] = []

    def make_tool(*capabilities: str, **options: Any) -> StewrdTool:
        here = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_retries": 0}
        made.append(StewrdTool(capabilities or ["research"], **{**here, **options}))
        return made[-1]

    yield make_tool
    for one in made:
        await one.aclose()


Ask: TypeAlias = Callable[..., Any]


async def ask(tool: BaseTool, message: str, config: Any = None, **more: Any) -> ToolMessage:
    """As an agent calls a tool."""
    return tool.invoke(_call(tool, message, more), config)  # type: ignore[no-any-return]


async def aask(tool: BaseTool, message: str, config: Any = None, **more: Any) -> ToolMessage:
    return await tool.ainvoke(_call(tool, message, more), config)  # type: ignore[no-any-return]


def _call(tool: BaseTool, message: str, more: dict[str, Any]) -> Any:
    arguments = {"message": message, **more}
    return {"type": "tool_call", "id": "1", "name": tool.name, "args": arguments}


both = pytest.mark.parametrize("ask", [ask, aask])


# -- what models are told --------------------------------------------------------------


def test_every_capability_is_described() -> None:
    assert set(ABOUT) == set(CAPABILITIES)
    toolkit = StewrdToolkit(**NOWHERE)
    assert [tool.name for tool in toolkit.get_tools()] == [f"stewrd_{one}" for one in CAPABILITIES]
    for tool, capability in zip(toolkit.get_tools(), CAPABILITIES, strict=True):
        cost = CREDITS[capability]
        for part in (
            *ABOUT[capability],
            "Use it for ",
            "Don't use it for ",
            f"costs {cost} credit{'s' * (cost > 1)}, ",
            "nothing of your conversation",
        ):
            assert part in tool.description, capability
        assert len(tool.description) <= 1_024


def test_several_capabilities_at_once() -> None:
    tool = StewrdTool(["research", "documents", "research"], **NOWHERE)
    assert tool.name == "stewrd_research_documents" and tool.capabilities == (
        "research",
        "documents",
    )
    assert "costs 8 credits" in tool.description
    assert len(StewrdTool(CAPABILITIES, **NOWHERE).name) <= 64


def test_whether_it_remembers_is_told() -> None:
    alone = StewrdTool(["chat"], **NOWHERE)
    remembers = StewrdTool(["chat"], conversation_id="c", **NOWHERE)
    assert "nothing of earlier calls" in alone.description
    assert "remembers earlier calls" in remembers.description


def test_its_arguments_are_described() -> None:
    assert StewrdTool(["chat"], **NOWHERE).args_schema is Question
    schema = Question.model_json_schema()
    assert list(schema["properties"]) == ["message", "files"] and schema["required"] == ["message"]
    file = schema["$defs"]["TextFile"]["properties"]
    for described in (*schema["properties"].values(), *file.values()):
        assert len(described["description"]) > 20


def test_name_and_description_can_be_chosen() -> None:
    tool = StewrdTool(["chat"], name="colleague", description="Ask Bo.", tags=["x"], **NOWHERE)
    assert (tool.name, tool.description, tool.tags) == ("colleague", "Ask Bo.", ["x"])


# -- what the server hears -------------------------------------------------------------


@both
async def test_a_call(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    answer = await ask(tool("data", "files"), **EXAMPLE)
    assert answer.content == "a.csv has 2 lines; the first one is “x,y”."
    assert (answer.status, answer.tool_call_id, answer.name) == (
        "success",
        "1",
        "stewrd_data_files",
    )
    (run,) = stewrd.runs
    assert run.capabilities == ("data", "files") and run.message == EXAMPLE["message"]
    assert run.files == (File("a.csv", "x,y\n1,2\n"),)
    assert (run.road, run.stream, stewrd.sessions) == ("stateless", False, {})
    facts = answer.artifact
    assert facts["answer"] == answer.content and facts["road"] == "stateless"
    assert facts["usage"]["credits"] == 3 and facts["usage"]["credits_remaining"] == 997
    assert facts["capabilities_used"] == ["data", "files"] and "mark" not in facts
    assert json.loads(json.dumps(facts)) == facts


@both
async def test_calls_stand_alone(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    research = tool()
    await ask(research, "My name is Ada.")
    config = {"configurable": {"thread_id": "t", "session_id": "s", "conversation_id": "c"}}
    answer = await ask(research, "Who am I?", config)
    assert answer.content == "You have not told me your name."
    assert stewrd.sessions == {} and [run.message for run in stewrd.runs] == [
        "My name is Ada.",
        "Who am I?",
    ]


@both
async def test_the_capabilities_of_each_tool_of_a_kit(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
    toolkit = StewrdToolkit(["research", "code"], **here)
    for tool in toolkit.get_tools():
        await ask(tool, "Hello")
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("code",)]
    toolkit.close()
    await toolkit.aclose()


def answering(*files: File, text: str = "Here it is.") -> Callable[[Context], Answer]:
    return lambda context: Answer(text, files=files)


async def test_files_come_with_the_artifact() -> None:
    files = [File("a.md", "# A"), File("b.pdf", None, "https://files.example/b?sig=x")]
    with Emulator(agent=answering(*files)) as stewrd:
        tool = StewrdTool(["documents"], api_key=stewrd.api_key, base_url=stewrd.url)
        answer = await ask(tool, "Write it")
        tool.close()
    assert answer.content == (
        "Here it is.\n\nFiles that came with it: a.md (text), b.pdf (to be downloaded)."
    )
    assert answer.artifact["files"] == [
        {"name": "a.md", "content": "# A", "url": None},
        {"name": "b.pdf", "content": None, "url": "https://files.example/b?sig=x"},
    ]


@pytest.mark.parametrize(
    ("files", "content"),
    [((), "The answer is empty."), ((File("a", "x"),), "Files that came with it: a (text).")],
)
async def test_an_answer_without_words(files: Any, content: str) -> None:
    with Emulator(agent=answering(*files, text=" ")) as stewrd:
        tool = StewrdTool(["chat"], api_key=stewrd.api_key, base_url=stewrd.url)
        assert (await ask(tool, "Hi")).content == content
        tool.close()


# -- progress --------------------------------------------------------------------------

STARTED = {"type": "tool_start", "tool": "research", "by": "stewrd_research"}


class Events(BaseCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.run: Any = None

    def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.run = run_id

    def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert run_id == self.run
        self.seen.append((name, data))


class AsyncEvents(AsyncCallbackHandler):
    raise_error = True

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.run: Any = None

    async def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.run = run_id

    async def on_custom_event(self, name: str, data: Any, *, run_id: Any, **kwargs: Any) -> None:
        assert run_id == self.run
        self.seen.append((name, data))


def check_progress(seen: list[Any]) -> None:
    assert [name for name, _ in seen] == ["stewrd_progress"] * 2
    start, end = (data for _, data in seen)
    assert {**start, "message": None} == {**STARTED, "message": None} and start["message"]
    assert end == {**STARTED, "type": "tool_end", "message": None}


@both
async def test_progress_is_told_as_custom_events(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    events = Events()
    answer = await ask(tool(), "Hello", {"callbacks": [events]})
    check_progress(events.seen)
    assert answer.artifact["usage"]["credits"] == 3 and stewrd.runs[0].stream


async def test_progress_to_async_handlers(tool: Make) -> None:
    events = AsyncEvents()
    await aask(tool(), "Hello", {"callbacks": [events]})
    check_progress(events.seen)


async def test_progress_in_streams_of_events(tool: Make) -> None:
    chain: Any = RunnableLambda(lambda text: {"message": text}) | tool()
    seen = [
        (event["name"], event["data"])
        async for event in chain.astream_events("Hello", version="v2")
        if event["event"] == "on_custom_event"
    ]
    check_progress(seen)


async def test_it_is_streamed_only_where_somebody_listens(stewrd: Emulator, tool: Make) -> None:
    class Deaf(Events):
        ignore_custom_event = True

    research = tool()
    for config in (None, {"callbacks": [Deaf()]}, {"callbacks": [Events()]}):
        await ask(research, "Hello", config)
        await aask(research, "Hello", config)
    assert [run.stream for run in stewrd.runs] == [False] * 4 + [True] * 2


async def test_it_can_be_called_outside_of_a_run(stewrd: Emulator, tool: Make) -> None:
    content, artifact = tool()._run("Hello")
    acontent, aartifact = await tool()._arun("Hello")
    assert content == acontent == "Hello! What can I do for you?"
    assert artifact["answer"] == aartifact["answer"] == content


# -- conversations ---------------------------------------------------------------------


@both
async def test_a_conversation_of_its_own(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    store = MemoryStore()
    for text in ("My name is Ada.", "Who am I?", "How many messages have I sent?"):
        # A new object each time, as a service makes them.
        answer = await ask(tool("chat", conversation_id="c", tenant="t", store=store), text)
    assert answer.content == "You have sent me 3 messages, this one included."
    assert answer.artifact["turn"] == "continued" and len(stewrd.sessions) == 1
    kept = history(stewrd, "c", tenant="t", store=store)
    assert [message.text for message in kept.messages[::2]] == heard(stewrd)[0]
    assert kept.session and kept.session.session_id == answer.artifact["session_id"]
    for other in ({"conversation_id": "d"}, {"conversation_id": "c"}):
        alien = await ask(tool("chat", store=store, **other), "Who am I?")
        assert alien.content == "You have not told me your name."


def history(stewrd: Emulator, name: str, **options: Any) -> StewrdChatMessageHistory:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, **options}
    return StewrdChatMessageHistory(name, **here)


@both
@pytest.mark.parametrize("how", ["advance", "expire"])
async def test_a_conversation_survives_its_session(
    stewrd: Emulator, tool: Make, ask: Ask, how: str
) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())

    def end() -> None:
        stewrd.advance(1_900) if how == "advance" else stewrd.expire()

    await ask(chat, "My name is Ada.")
    end()
    answer = await ask(chat, "Who am I?")
    assert answer.content == "Your name is Ada." and answer.artifact["turn"] == "recreated"
    again = await ask(chat, **EXAMPLE)
    assert again.artifact["turn"] == "continued" and stewrd.active_sessions == 1
    end()
    await ask(chat, "What is my name?")
    assert stewrd.runs[-1].files == (File("a.csv", "x,y\n1,2\n"),)  # it is sent again


@both
async def test_the_tools_of_a_kit_share_their_conversation(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "store": MemoryStore()}
    toolkit = StewrdToolkit(["research", "documents"], conversation_id="c", **here)
    research, documents = toolkit.get_tools()
    await ask(research, "My name is Ada.")
    assert (await ask(documents, "Who am I?")).content == "Your name is Ada."
    assert len(stewrd.sessions) == 1
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]
    await toolkit.aclose()


@both
async def test_a_failed_call_is_not_kept(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())
    await ask(chat, "My name is Ada.")
    stewrd.fail_next("hang_up", after=True)
    assert (await ask(chat, "My pet is Rex.")).status == "error"
    answer = await ask(chat, "What is my pet?")
    assert answer.content == "You have not told me your pet."
    assert [text for _, text in stewrd.heard(answer.artifact["session_id"])][-1] == answer.content


async def test_calls_at_once_are_all_kept_and_never_mix(stewrd: Emulator, tool: Make) -> None:
    chat = tool("chat", conversation_id="c", store=MemoryStore())
    await aask(chat, "My name is Ada.")
    facts = ("My pet is Rex.", "My colour is green.", "My city is Rome.")
    await asyncio.gather(*(aask(chat, fact) for fact in facts))
    for question, known in (("What is my pet?", "Rex"), ("What is my city?", "Rome")):
        assert known in str((await aask(chat, question)).content)
    assert stewrd.overlaps == []


class Failing(MemoryStore):
    at = ""

    def load(self, conversation: str) -> list[str]:
        if self.at == "load":
            raise StoreError("The store is away.")
        return super().load(conversation)

    def append(self, conversation: str, lines: Any, replace: bool = False) -> None:
        if self.at == "append":
            raise StoreError("The store is away.")
        super().append(conversation, lines, replace)


@both
async def test_an_answer_that_can_not_be_kept_is_still_given(
    stewrd: Emulator, tool: Make, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing()
    chat = tool("chat", conversation_id="c", store=store)
    store.at = "append"
    assert (await ask(chat, "My name is Ada.")).content == "Nice to meet you, Ada."
    assert "not kept" in caplog.text
    store.at = ""
    answer = await ask(chat, "Who am I?")
    assert answer.content == "You have not told me your name."  # it is not in the transcript


@both
async def test_a_conversation_that_can_not_be_read_is_not_guessed(
    stewrd: Emulator, tool: Make, ask: Ask
) -> None:
    store = Failing()
    chat = tool("chat", conversation_id="c", store=store)
    await ask(chat, "My name is Ada.")
    store.at = "load"
    answer = await ask(chat, "Who am I?")
    assert answer.status == "error" and "The store is away." in str(answer.content)
    assert "charged: no" in str(answer.content) and len(stewrd.runs) == 1


# -- failures --------------------------------------------------------------------------

FAILURES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "no credits": (
        {"kind": "error", "status": 402, "code": "insufficient_credits"},
        ("insufficient_credits", "no", "no"),
    ),
    "not enabled": (
        {"kind": "error", "status": 403, "code": "capability_not_enabled"},
        ("capability_not_enabled", "no", "no"),
    ),
    "the plan": (
        {"kind": "error", "status": 403, "code": "plan_restricted"},
        ("plan_restricted", "no", "no"),
    ),
    "too fast": (
        {"kind": "error", "status": 429, "code": "rate_limited"},
        ("rate_limited", "no", "yes"),
    ),
    "the quota": (
        {"kind": "error", "status": 429, "code": "quota_exceeded"},
        ("quota_exceeded", "no", "no"),
    ),
    "the key": (
        {"kind": "error", "status": 401, "code": "invalid_api_key"},
        ("invalid_api_key", "no", "no"),
    ),
    "a failed run": (
        {"kind": "error", "status": 502, "code": "compute_error"},
        ("compute_error", "no", "yes"),
    ),
    "a proxy": ({"kind": "html", "status": 502}, ("", "maybe", "no")),
    "away": (
        {"kind": "error", "status": 503, "code": "service_unavailable", "retry_after": 1},
        ("service_unavailable", "maybe", "no"),
    ),
    "no answer": ({"kind": "hang_up", "after": True}, ("", "maybe", "no")),
    "silence": ({"kind": "slow"}, ("", "maybe", "no")),
    "garbage": ({"kind": "garbage"}, ("", "likely", "no")),
}


@both
@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("listened", [False, True])
async def test_failures_are_shown_to_the_agent(
    stewrd: Emulator, tool: Make, ask: Ask, kind: str, listened: bool
) -> None:
    fault, (code, charged, again) = FAILURES[kind]
    stewrd.fail_next(**{"on": "agent", **fault})
    config = {"callbacks": [Events()]} if listened else None
    answer = await ask(tool(timeout=1 if kind == "silence" else 60), "Hello", config)
    text = str(answer.content)
    assert answer.status == "error" and answer.artifact is None
    assert text.startswith("stewrd_research failed: ")
    coded = f"(code: {code}; " if code else "("
    assert f"{coded}charged: {charged}; retryable: {again})" in text
    assert ("You may call it once more." in text) == (again == "yes")
    assert ("Don't repeat the call" in text) == (again == "no")
    assert ("may have been done" in text) == (charged != "no")
    assert "send the turn again" not in text or charged == "no"
    assert len(stewrd.requests) == 1


@both
async def test_a_server_that_is_not_there(ask: Ask) -> None:
    tool = StewrdTool(["research"], max_retries=0, **NOWHERE)
    answer = await ask(tool, "Hello")
    assert answer.status == "error" and "charged: no; retryable: yes" in str(answer.content)
    await tool.aclose()


async def test_a_stream_that_breaks_off(stewrd: Emulator, tool: Make) -> None:
    stewrd.fail_next("cut", on="agent", chunks=2)
    answer = await aask(tool(), "Hello", {"callbacks": [Events()]})
    assert answer.status == "error" and "charged: likely; retryable: no" in str(answer.content)


@both
async def test_a_limit_on_credits(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    research = tool("research", "documents", max_credits=20)
    answers = [await ask(research, "Hello") for _ in range(3)]
    assert [answer.status for answer in answers] == ["success", "success", "error"]
    assert "max_credits=20" in str(answers[-1].content) and len(stewrd.requests) == 2


@both
async def test_the_tools_of_a_kit_share_their_limit(stewrd: Emulator, ask: Ask) -> None:
    here: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url, "max_credits": 8}
    toolkit = StewrdToolkit(["research", "documents", "chat"], **here)
    answers = [await ask(tool, "Hello") for tool in toolkit.get_tools()]
    assert [answer.status for answer in answers] == ["success", "success", "error"]
    assert [run.capabilities for run in stewrd.runs] == [("research",), ("documents",)]
    await toolkit.aclose()


@both
async def test_failures_can_be_raised(stewrd: Emulator, tool: Make, ask: Ask) -> None:
    stewrd.fail_next("error", on="agent", status=402)
    with pytest.raises(ToolException, match="stewrd_research failed") as caught:
        await ask(tool(handle_tool_error=False), "Hello")
    error: Any = caught.value
    assert (error.error.status, error.error.charged) == (402, "no")
    assert error.__cause__ is error.error


@both
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"message": ""}, "message: String should have at least 1 character."),
        ({"message": 5}, "message: Input should be a valid string."),
        ({"message": "Hi", "capabilities": ["code"]}, "capabilities: Extra inputs"),
        ({"message": "Hi", "files": [{"name": "a"}]}, "files.0.content: Field required."),
        ({"message": "Hi", "files": [{"name": "", "content": ""}]}, "files.0.name: "),
        ({"message": "Hi", "files": "a.csv"}, "files: Input should be a valid list."),
        ({"message": " \n"}, "has no text"),
    ],
)
async def test_wrong_arguments_are_told(
    stewrd: Emulator, tool: Make, ask: Ask, arguments: Any, told: str
) -> None:
    answer = await ask(tool(), **arguments)
    assert answer.status == "error" and told in str(answer.content)
    assert stewrd.requests == []


# -- options ---------------------------------------------------------------------------


def test_its_options_are_those_of_the_models() -> None:
    assert set(ToolOptions.__annotations__) <= set(OPTION_NAMES)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"capabilities": None}, "needs its capabilities"),
        ({"capabilities": []}, "capabilities"),
        ({"capabilities": "research"}, "capabilities"),
        ({"capabilities": ["magic"]}, "magic"),
        ({"conversation_id": " "}, "conversation_id"),
        ({"conversation_id": True}, "conversation_id"),
        ({"tenant": []}, "tenant"),
        ({"timeout": -1}, "timeout"),
        ({"max_credits": -1}, "max_credits"),
        ({"store": "carrier-pigeon://"}, "store"),
        ({"base_url": "http://example.com"}, "base_url"),
        ({"temperature": 0.5}, "temperature"),
        ({"api_key": KEY + "\n\0"}, "API key"),
        ({"apikey": KEY}, "apikey"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [StewrdTool, StewrdToolkit])
def test_wrong_options_are_named(kind: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        kind(**{"capabilities": ["chat"], **NOWHERE, **options})
    check_hygiene(caught.value)


def test_the_key_does_not_show() -> None:
    tool = StewrdTool(["chat"], conversation_id="c", **NOWHERE)
    toolkit = StewrdToolkit(**NOWHERE)
    for shown in (tool, toolkit, vars(tool), tool.model_dump(), tool.__pydantic_private__):
        assert KEY not in repr(shown)


def test_what_it_may_use_is_fixed() -> None:
    tool = StewrdTool(["chat"], **NOWHERE)
    for name, value in (("capabilities", ("code",)), ("conversation_id", "d")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(tool, name, value)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, StewrdTool.model_copy])
async def test_copies_work(stewrd: Emulator, tool: Make, copied: Any) -> None:
    twin = copied(tool("code"))
    assert (await ask(twin, "Hello")).status == "success"
    assert stewrd.runs[0].capabilities == ("code",)
