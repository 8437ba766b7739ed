"""Errors are of both families, and say that a retry helps only where nothing was charged."""

from __future__ import annotations

import pickle

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core import exceptions as theirs
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

from stewrd_integrations import errors
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd
from stewrd_integrations.langchain.errors import in_both_families
from stewrd_integrations.stores import MemoryStore
from tests.servers import serve

ROWS = [
    ({"status": 400, "code": "invalid_body"}, theirs.ModelInvalidRequestError, False),
    ({"status": 401, "code": "invalid_api_key"}, theirs.ModelAuthenticationError, False),
    ({"status": 402, "code": "insufficient_credits"}, theirs.ModelError, False),
    ({"status": 403, "code": "plan_restricted"}, theirs.ModelPermissionDeniedError, False),
    ({"status": 429, "code": "quota_exceeded"}, theirs.ModelRateLimitError, False),
    ({"status": 429, "code": "rate_limited", "times": 9}, theirs.ModelRateLimitError, True),
    ({"status": 500, "code": "internal_error"}, theirs.ModelAPIError, False),
    ({"status": 502, "code": "compute_error"}, theirs.ModelAPIError, True),
    ({"status": 503, "code": "service_unavailable"}, theirs.ModelAPIError, False),
    # It will pass, and may have been charged all the same.
    (
        {"status": 503, "code": "service_unavailable", "retry_after": 0},
        theirs.ModelAPIError,
        False,
    ),
]


def model(emulator: Emulator) -> ChatStewrd:
    address = {"api_key": emulator.api_key, "base_url": emulator.url}
    return ChatStewrd(**address, store=MemoryStore(), max_retries=0, sessions="never")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize(("fault", "family", "retryable"), ROWS)
async def test_both_families(
    fault: dict[str, object], family: type[theirs.ModelError], retryable: bool, mode: str
) -> None:
    with serve() as emulator:
        emulator.fail_next("error", on="agent", **fault)  # type: ignore[arg-type]
        async with model(emulator) as chat:
            with pytest.raises(family) as caught:
                match mode:
                    case "invoke":
                        chat.invoke("hi")
                    case "stream":
                        list(chat.stream("hi"))
                    case "ainvoke":
                        await chat.ainvoke("hi")
                    case "astream":
                        [chunk async for chunk in chat.astream("hi")]
    error = caught.value
    assert isinstance(error, errors.StewrdError)
    assert error.is_retryable is retryable
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert isinstance(again, family) and str(again) == str(error)
    assert again.is_retryable is retryable


def test_an_error_is_translated_once() -> None:
    error = in_both_families(errors.NeverSentError("nobody"))
    assert in_both_families(error) is error
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error", "status": 500, "after": True},
        {"kind": "hang_up", "after": True},
        {"kind": "html", "status": 504, "after": True},
    ],
)
@pytest.mark.parametrize("how", ["middleware", "langgraph"])
def test_frameworks_do_not_repeat_a_turn_of_unknown_outcome(
    fault: dict[str, object], how: str
) -> None:
    with serve() as emulator, model(emulator) as chat:
        emulator.fail_next(**{"on": "agent", "times": 9, **fault})  # type: ignore[arg-type]
        if how == "middleware":
            retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.01, on_failure="error")
            agent = create_agent(chat, tools=[], middleware=[retry])
        else:
            graph = StateGraph(MessagesState)
            graph.add_node(
                "chat",
                lambda state: {"messages": [chat.invoke(state["messages"])]},
                retry_policy=RetryPolicy(initial_interval=0.01),
            )
            graph.add_edge(START, "chat")
            graph.add_edge("chat", END)
            agent = graph.compile()  # type: ignore[assignment]
        with pytest.raises(errors.StewrdError):
            agent.invoke({"messages": [HumanMessage("pay 100")]})
        assert len(emulator.requests) == 1
