"""The pytest plugin, as users meet it: a pytest of its own runs tests of theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import stewrd_integrations
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.stores.memory import MemoryStore
from stewrd_integrations.testing import emulated
from stewrd_integrations.testing.emulated import Heard

pytest_plugins = ["pytester"]

ROOT = Path(stewrd_integrations.__file__).parents[1]
ENTRY = "[pytest11]\nstewrd = pytest_stewrd\n"
INI = (
    "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    "filterwarnings = error\naddopts = --strict-markers\n"
)


@pytest.fixture
def users(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of a user's, where the plugin is found by its entry point."""
    installed = pytester.path / "site"
    info = installed / "stewrd_plugin_here-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stewrd-plugin-here\nVersion: 1\n")
    # One that is installed for these tests would be found twice.
    (info / "entry_points.txt").write_text(ENTRY.replace("stewrd =", "stewrd_here ="))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{installed}")
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "STEWRD_API_KEY", "STEWRD_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini(INI)
    return pytester


def run(users: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return users.runpytest_subprocess("-p", "no:stewrd", *arguments)


def run_alone(
    users: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> pytest.RunResult:
    """With no other plugin, which is faster."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    users.makeini("\n".join(line for line in _ini(users) if not line.startswith("asyncio")))
    return users.runpytest_subprocess("-p", "pytest_stewrd", *arguments)


def _ini(users: pytest.Pytester) -> list[str]:
    return (users.path / "tox.ini").read_text().splitlines()


LANGCHAIN = '''
import gc, os
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from stewrd_integrations import StewrdError, open_store
from stewrd_integrations.langchain import ChatStewrd, StewrdChatMessageHistory

TALK = [
    ("user", "My name is Ada."),
    ("assistant", "Nice to meet you, Ada."),
    ("user", "What is my name?"),
]

def talk(**options):
    model = ChatStewrd(conversation_id="chat-1", **options)
    messages = [HumanMessage("My name is Ada.")]
    messages += [model.invoke(messages), HumanMessage("What is my name?")]
    return model, messages, model.invoke(messages)

def test_a_bot(stewrd_emulator):
    _, messages, answer = talk()
    assert answer.text == "Your name is Ada."
    assert stewrd_emulator.heard() == TALK
    assert stewrd_emulator.heard() == messages
    assert stewrd_emulator.heard(0) == TALK[:1]
    (session,) = stewrd_emulator.sessions
    assert stewrd_emulator.heard(session) == [*messages, answer]
    assert [one.path.split("/")[-1] for one in stewrd_emulator.requests] == [
        "sessions", "messages", "messages"
    ]
    assert stewrd_emulator.credits == 998 and len(stewrd_emulator.answers) == 2

def test_nothing_is_left_of_it(stewrd_emulator):
    assert os.environ["STEWRD_BASE_URL"] == stewrd_emulator.url
    assert os.environ["STEWRD_API_KEY"] == stewrd_emulator.api_key
    with pytest.raises(AssertionError, match="not given an answer.* inside the test"):
        stewrd_emulator.heard()
    with pytest.raises(AssertionError, match="no session 'x'"):
        stewrd_emulator.heard("x")
    assert open_store().inventory().bindings == ()
    ChatStewrd(conversation_id="chat-1").invoke([*TALK[:2], ("user", "Who am I?")])
    assert stewrd_emulator.heard()[-1] == ("user", "Who am I?")
    with pytest.raises(AssertionError, match="answer number 1 of 1"):
        stewrd_emulator.heard(1)

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.stewrd_emulator(api_key="sk-stw_always_the_same", port=0)
def test_histories_of_two_tests_do_not_meet(stewrd_emulator, number):
    history = StewrdChatMessageHistory("a")
    assert history.messages == []
    history.add_user_message("Hello")

def test_faults(stewrd_emulator):
    model, messages, answer = talk()
    stewrd_emulator.fail_next("error", status=502, code="compute_error")
    messages += [answer, HumanMessage("Who am I?")]
    with pytest.raises(StewrdError):
        model.invoke(messages)
    stewrd_emulator.advance(31 * 60)
    assert model.invoke(messages).response_metadata["turn"] == "replayed"
    stewrd_emulator.expire()
    messages += [AIMessage("You are Ada."), HumanMessage("And now?")]
    model.invoke(messages)
    assert stewrd_emulator.heard() == messages

async def test_async(stewrd_emulator):
    async with ChatStewrd() as model:
        answer = await model.ainvoke("My name is Ada.")
    assert stewrd_emulator.heard() == [("human", "My name is Ada.")]

def test_an_agent(stewrd_emulator):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = create_agent(ChatStewrd(), [add], system_prompt="Be brief.")
    result = agent.invoke({"messages": [("user", "add(1, 2)")]})
    system = {"role": "system", "content": "Be brief."}
    assert stewrd_emulator.heard() == [system, *result["messages"][:-1]]
    assert stewrd_emulator.heard()[2:] == [("assistant", 'add({"a": 1, "b": 2})'), ("tool", "3")]

@pytest.mark.stewrd_emulator(plan="free", history_limit=6)
class TestSettings:
    def test_of_the_class_and_the_ini_file(self, stewrd_emulator):
        settings = stewrd_emulator.emulator.settings
        assert (settings.plan, settings.history_limit, settings.credits) == ("free", 6, 7)
        assert settings.final_blank_line is False and settings.done == "nested"

    @pytest.mark.stewrd_emulator(history_limit=8, agent=lambda context: "I am a stub.")
    def test_of_the_test_count_more(self, stewrd_emulator):
        settings = stewrd_emulator.emulator.settings
        assert (settings.plan, settings.history_limit) == ("free", 8)
        assert ChatStewrd().invoke("Hello").text == "I am a stub."

@pytest.mark.stewrd_emulator(history_limit=4, check=False, credits=1000)
def test_what_no_right_client_does_may_be_asked_for(stewrd_emulator):
    model, messages, answer = talk(session_message_limit=100)
    model.invoke([*messages, answer, ("user", "more")])
    assert stewrd_emulator.problems == ["2 messages were pushed out of full sessions"]

def teardown_module():
    gc.collect()  # what was not closed would tell now
'''


def test_with_langchain(users: pytest.Pytester) -> None:
    users.makeini(
        INI + "stewrd_emulator =\n    credits = 7\n    final_blank_line = false\n    done=nested\n"
    )
    users.makepyfile(
        LANGCHAIN.replace("def test_a_bot", "@GENEROUS\ndef test_a_bot").replace(
            "TALK = [",
            'GENEROUS = pytest.mark.stewrd_emulator(credits=1000, done="live")\nTALK = [',
            1,
        )
    )
    run(users, "-q").assert_outcomes(passed=10)


LLAMA_INDEX = '''
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.agent.workflow import FunctionAgent
from stewrd_integrations.llama_index import StewrdLLM, StewrdMemory

def test_an_engine(stewrd_emulator):
    memory = StewrdMemory("chat-1")
    engine = SimpleChatEngine.from_defaults(
        llm=StewrdLLM(), memory=memory, system_prompt="Be brief."
    )
    engine.chat("My name is Ada.")
    assert str(engine.chat("What is my name?")) == "Your name is Ada."
    assert stewrd_emulator.heard() == [
        ChatMessage("Be brief.", role="system"), *memory.get_all()[:-1]
    ]
    assert stewrd_emulator.heard()[1:] == [
        ("user", "My name is Ada."),
        ("assistant", "Nice to meet you, Ada."),
        ("user", "What is my name?"),
    ]

def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

async def test_an_agent(stewrd_emulator):
    async with StewrdLLM() as llm:
        memory = StewrdMemory("chat-2")
        await FunctionAgent(llm=llm, tools=[add]).run("add(1, 2)", memory=memory)
    assert stewrd_emulator.heard() == (await memory.aget_all())[:-1]
    assert stewrd_emulator.heard()[1:] == [("assistant", 'add({"a": 1, "b": 2})'), ("tool", "3")]
'''


def test_with_llama_index(users: pytest.Pytester) -> None:
    users.makepyfile(LLAMA_INDEX)
    # LlamaIndex itself warns, in some versions.
    run(users, "-q", "-W", "default").assert_outcomes(passed=2)


FAILING = """
import threading
import pytest
from stewrd_integrations import StewrdClient

def say(*texts):
    with StewrdClient() as client:
        session = client.create_session()
        for text in texts:
            client.send_message(session.id, text)

def test_other_words(stewrd_emulator):
    say("My name is Ada.", "What is my name?")
    assert stewrd_emulator.heard() == [
        ("user", "My name is Ada."), ("assistant", "Hello Ada."), ("user", "What is my name?")
    ]

def test_another_kind(stewrd_emulator):
    say("Hello")
    assert "Hello" == stewrd_emulator.heard()

@pytest.mark.stewrd_emulator(history_limit=2)
def test_a_full_session(stewrd_emulator):
    say("a", "b")

@pytest.mark.stewrd_emulator(latency=0.3)
def test_two_at_once(stewrd_emulator):
    with StewrdClient() as client:
        session = client.create_session()
        both = [
            threading.Thread(target=client.send_message, args=(session.id, "x")) for _ in "ab"
        ]
        [each.start() for each in both]
        [each.join() for each in both]

def test_a_failure_that_never_comes(stewrd_emulator):
    stewrd_emulator.fail_next("error", times=2)
    with StewrdClient() as client:
        client.run_agent("no session's message")

@pytest.mark.stewrd_emulator(history_limits=2)
def test_no_such_setting(stewrd_emulator): ...

@pytest.mark.stewrd_emulator(temperature=2)
def test_nothing_like_it(stewrd_emulator): ...

@pytest.mark.stewrd_emulator(token_key="words")
def test_no_such_value(stewrd_emulator): ...

@pytest.mark.stewrd_emulator("free")
def test_no_name(stewrd_emulator): ...
"""


def test_what_failures_look_like(users: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    users.makepyfile(FAILING)
    done = run_alone(users, monkeypatch, "-q", "--tb=short")
    done.assert_outcomes(failed=2, passed=3, errors=7)
    done.stdout.fnmatch_lines(
        [
            "*E   *the agent heard something else (- expected, + heard):",
            "E     *  1 user      'My name is Ada.'",
            "E     *- 2 assistant 'Hello Ada.'",
            "E     *+ 2 assistant 'Nice to meet you, Ada.'",
            "E     *  3 user      'What is my name?'",
        ]
    )
    text = done.stdout.str()
    for told in (
        "what the agent heard is a list, and this is a str",
        "2 messages were pushed out of full sessions",
        "requests 1 and 2 were on session",
        "Of the failures that fail_next() ordered, 2 met no request",
        "no setting 'history_limits'. Did you mean 'history_limit'?",
        "no setting 'temperature'. There are ",
        "stewrd_emulator: token_key must be one of",
        "takes keywords only, not 'free'",
    ):
        assert told in text, told
    assert "plugin.py" not in text and "emulated.py" not in text, "of us, no frame is shown"


def test_a_wrong_line_in_the_ini_file(
    users: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.makeini(f"{INI}stewrd_emulator = free\n")
    users.makepyfile("def test_it(stewrd_emulator): ...")
    done = run_alone(users, monkeypatch, "-q")
    done.assert_outcomes(errors=1)
    assert "a line that is not `name = value`: 'free'" in done.stdout.str()


def test_without_the_emulator_only_who_asks_for_it_fails(
    users: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.makeconftest("import sys\nsys.modules['uvicorn'] = None\n")
    users.makepyfile(
        "def test_that_needs_it(stewrd_emulator): ...\ndef test_that_does_not(): ...\n"
    )
    done = run_alone(users, monkeypatch, "-q")
    done.assert_outcomes(passed=1, errors=1)
    assert 'pip install "stewrd-integrations[emulator]"' in done.stdout.str()


def test_tests_that_do_not_ask_for_it_load_nothing(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("stewrd_here")
            loaded = ("stewrd_integrations", "httpx", "uvicorn", "starlette")
            assert [name for name in sys.modules if name.startswith(loaded)] == []
        """
    )
    # langsmith's plugin, if it is installed, loads httpx at every start.
    run(users, "-q", "-p", "no:langsmith_plugin", "-p", "no:recording").assert_outcomes(passed=1)
    done = run(users, "--markers")
    assert "@pytest.mark.stewrd_emulator(check=True, **settings): settings of" in done.stdout.str()


def test_the_plugin_is_cheap() -> None:
    code = "import sys, pytest; was = set(sys.modules); import pytest_stewrd\n"
    code += "print(*sorted(set(sys.modules) - was))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["pytest_stewrd"]


# -- in this very process --------------------------------------------------------------


def test_what_equals_what_was_heard() -> None:
    heard = Heard([("user", "Hi"), ("assistant", "Hello")])
    assert heard == [("human", "Hi"), ["ai", "Hello"]]
    dictionaries = [{"role": "user", "content": "Hi"}, ("assistant", "Hello")]
    assert dictionaries == heard
    assert heard != heard[:1]
    assert heard != "Hi"
    others: tuple[Any, ...] = (7, ([], "x"), (1, 2, 3), None)
    for other in others:
        assert heard != [("user", "Hi"), other]
    assert heard.difference([("user", "Hi"), 7])[1:] == [
        "  1 user      'Hi'",
        "- 2 7",
        "+ 2 assistant 'Hello'",
    ]
    with pytest.raises(TypeError):
        hash(heard)


def test_what_a_replay_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from stewrd_integrations.langchain import ChatStewrd

    for served in emulated.serve({}, monkeypatch):
        messages = [("user", "word " * 60), ("assistant", "Yes."), ("user", "Next")]
        ChatStewrd(conversation_id="a", replay_budget=200).invoke(messages)
        assert served.heard() == [("omitted", "1 older messages"), *messages[1:]]
        model = ChatStewrd(conversation_id="b", replay_budget=200, recap=lambda old: "Words.")
        model.invoke(messages)
        assert served.heard() == [("summary", "Words."), *messages[1:]]


def test_the_fixture_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from stewrd_integrations.stores import open_store

    before = open_store("memory://")
    with pytest.MonkeyPatch.context() as patch:
        (served,) = [served for served in emulated.serve({}, patch) if inside(served, before)]
    assert open_store("memory://") is before
    with pytest.raises(RuntimeError):
        _ = Emulator().url
    assert served.emulator._server is None


def inside(served: emulated.StewrdEmulator, before: object) -> bool:
    from stewrd_integrations.stores import open_store

    now = open_store()
    return (
        isinstance(now, MemoryStore) and now is not before and served.url.startswith("http://127")
    )
