"""Making models: options, copies, dumps, and the key that must show up nowhere."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
import uuid
from collections.abc import Callable
from dataclasses import fields
from types import FrameType, TracebackType
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import AuthenticationError, ConfigurationError, StewrdError
from stewrd_integrations.llama_index import StewrdLLM
from stewrd_integrations.options import OPTION_NAMES, Options
from stewrd_integrations.stores import MemoryStore

from .conftest import system, user

KEY = "sk-stw_" + "c0ffee" * 5
Make = Callable[..., StewrdLLM]


def made(**options: Any) -> StewrdLLM:
    return StewrdLLM(**{"api_key": KEY, **options})


def test_every_option_is_a_field_with_the_same_default() -> None:
    defaults = {field.name: field.default for field in fields(Options)}
    found = StewrdLLM.model_fields
    for name in OPTION_NAMES:
        if name != "api_key":
            assert found[name].default == defaults[name], name
    assert "api_key" not in found
    assert "clock" not in found


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "soon"},
        {"timeout": -1},
        {"on_trim": "maybe"},
        {"on_instructions_change": "maybe"},
        {"on_session_limit": "maybe"},
        {"on_store_error": "maybe"},
        {"sessions": "sometimes"},
        {"session_message_limit": 1},
        {"max_active_sessions": "ten"},
        {"replay_budget": 0},
        {"recap": "all"},
        {"base_url": "http://api.example.org"},
        {"store": "nowhere://"},
        {"conversation_id": True},
        {"tenant": 1.5},
        {"capabilities": "chat"},
        {"default_headers": {"a": 1}},
        {"system_prompt": 5},
    ],
)
def test_wrong_options_are_configuration_errors_that_name_them(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(**options)
    assert not isinstance(caught.value, ValidationError)
    (name,) = options
    assert name in str(caught.value) or name == "store"
    assert caught.value.__context__ is None or name == "store"


@pytest.mark.parametrize("options", [{"capabilities": ["magic"]}, {"tenant": " "}])
def test_wrong_options_of_calls_are_refused_by_models_too(options: dict[str, Any]) -> None:
    with pytest.raises(StewrdError, match=next(iter(options))):
        made(**options)


def test_what_is_wanted_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r'must be a list, as in capabilities=\["chat"\]'):
        made(capabilities="chat")


def test_unknown_options_raise_by_name_unless_none() -> None:
    with pytest.raises(ConfigurationError, match="no option 'model', 'temperature'"):
        made(temperature=0.1, model="x")
    assert "temperature" not in made(temperature=None, model=None).to_dict()


def test_names_may_be_numbers_and_uuids() -> None:
    name = uuid.uuid4()
    llm = made(conversation_id=name, tenant=7)
    assert (llm.conversation_id, llm.tenant) == (str(name), "7")


def test_options_that_a_running_model_can_not_change_are_frozen() -> None:
    llm = made()
    with pytest.raises(ValidationError, match="frozen"):
        llm.timeout = 5.0
    assert llm.model_copy(update={"timeout": 5.0}).timeout == 5.0


def test_clients_of_ones_own_are_used(emulator: Emulator) -> None:
    seen: list[str] = []
    hooks = {"request": [lambda request: seen.append(request.url.path)]}
    with httpx.Client(event_hooks=hooks, trust_env=False) as http:
        llm = made(api_key=emulator.api_key, base_url=emulator.url, http_client=http)
        llm.complete("Hi")
        llm.close()
        assert not http.is_closed
    assert seen == ["/v1/agent"]


# -- copies ----------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, StewrdLLM.model_copy])
def test_copies_have_the_same_options_and_share_the_store(copied: Any) -> None:
    store = MemoryStore()
    llm = made(conversation_id="ada", store=store, timeout=5)
    other = copied(llm)
    assert other is not llm
    assert (other.conversation_id, other.timeout) == ("ada", 5)
    assert other.store is store


def test_a_copy_goes_on_where_the_model_was(emulator: Emulator, make: Make) -> None:
    llm = make(conversation_id="ada")
    messages = [user("My name is Ada.")]
    messages += [llm.chat(messages).message, user("What is my name?")]
    with copy.deepcopy(llm) as other:
        assert other.explain(messages).turn == "continued"
        assert other.chat(messages).message.content == "Your name is Ada."


def test_copies_check_their_options() -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        made().model_copy(update={"nonsense": 1})


def test_pickles_find_the_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = made(conversation_id="ada", capabilities=["chat"], timeout=5)
    dumped = pickle.dumps(llm)
    assert KEY.encode() not in dumped
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        pickle.loads(dumped)  # noqa: S301  # our own
    monkeypatch.setenv("STEWRD_API_KEY", "sk-stw_" + "beef" * 6)
    other = pickle.loads(dumped)  # noqa: S301  # our own
    assert (other.conversation_id, other.capabilities, other.timeout) == ("ada", ["chat"], 5)


def test_dumps_make_the_same_model_again() -> None:
    llm = made(conversation_id="ada", replay_budget=5_000, system_prompt="Be nice.")
    for other in (
        StewrdLLM.from_dict(llm.to_dict(), api_key=KEY),
        StewrdLLM.from_json(llm.to_json(), api_key=KEY),
    ):
        assert other.to_dict() == llm.to_dict()
        assert other.class_name() == "StewrdLLM"


# -- the key ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", [KEY, SecretStr(KEY), lambda: KEY])
def test_the_key_is_in_no_dump(source: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2hunter2"
    llm = made(
        api_key=source,
        default_headers={"X-Proxy-Key": secret},
        store="memory://",
        conversation_id="ada",
    )
    shown = [
        repr(llm),
        str(llm),
        repr(llm.model_dump()),
        llm.model_dump_json(),
        repr(llm.to_dict()),
        llm.to_json(),
        llm.json(),
        json.dumps(llm.to_payload()),
        repr(vars(llm)).replace(secret, ""),
        repr(llm.__pydantic_private__),
        repr(list(llm)).replace(secret, ""),
        caplog.text,
    ]
    assert all(KEY not in text and secret not in text for text in shown)
    assert KEY.encode() not in pickle.dumps(llm)
    assert "conversation_id='ada'" in repr(llm)


def test_models_without_a_key_say_where_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match="STEWRD_API_KEY"):
        StewrdLLM()


def shown(value: object) -> str:
    """How a debugger shows a local, also one whose making has failed half-way."""
    try:
        return repr(value)
    except AttributeError:
        return repr(object.__reduce_ex__(value, 2)[2:3])


def our_frames(trace: TracebackType | None) -> list[FrameType]:
    frames = []
    while trace is not None:
        if "stewrd_integrations" in trace.tb_frame.f_code.co_filename:
            frames.append(trace.tb_frame)
        trace = trace.tb_next
    return frames


def assert_hidden(error: BaseException | None, key: str = KEY) -> None:
    """The key is in no text of the error or its chain, and no local of our frames."""
    while error is not None:
        assert key not in "".join(traceback.format_exception(error))
        assert key not in repr(vars(error))
        for frame in our_frames(error.__traceback__):
            for name, value in frame.f_locals.items():
                assert key not in shown(value), (frame.f_code.co_name, name)
        error = error.__cause__ or error.__context__


def caught(build: Callable[[], object]) -> BaseException:
    with pytest.raises(StewrdError) as info:
        build()
    return info.value


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "soon"},
        {"temperature": 1},
        {"key": KEY},
        {"conversation_id": [KEY]},
        {"on_trim": KEY},
        {"base_url": "http://api.example.org"},
        {"store": "nowhere://"},
        {"capabilities": ["magic"]},
        {"max_active_sessions": -1},
        {"api_key": f"{KEY} and more"},
        {"api_key": SecretStr(f"{KEY}\n{KEY}")},
        {"api_key": KEY.encode()},
    ],
    ids=str,
)
def test_the_key_is_in_no_error_of_a_wrong_option(options: dict[str, Any]) -> None:
    error = caught(lambda: made(**options))
    assert_hidden(error)


def test_the_key_is_in_no_error_of_a_copy() -> None:
    assert_hidden(caught(lambda: made().model_copy(update={"api_key": KEY, "timeout": "soon"})))


def test_the_key_is_in_no_error_of_a_call(emulator: Emulator) -> None:
    with made(base_url=emulator.url) as llm:
        for build in (
            lambda: llm.chat([user("Hi")]),
            lambda: list(llm.stream_chat([user("Hi")])),
            lambda: llm.chat([system("Hi")]),
            lambda: llm.chat([user("Hi")], temperature=1),
            lambda: llm.complete("Hi"),
        ):
            assert_hidden(caught(build))
        assert isinstance(caught(lambda: llm.complete("Hi")), AuthenticationError)
