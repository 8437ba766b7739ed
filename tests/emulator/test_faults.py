from __future__ import annotations

from typing import Any

import pytest

from stewrd_integrations.emulator.faults import KINDS, Fault, Faults

ROADS: tuple[Any, ...] = ("message", "create", "agent", "tool_outputs")


def test_a_fault_strikes_as_often_as_ordered() -> None:
    faults = Faults()
    faults.add(Fault("error", times=2))
    assert faults.count() == 2
    taken = [faults.take("message", False) for _ in range(3)]
    assert [fault is not None for fault in taken] == [True, True, False]
    assert faults.count() == 0


@pytest.mark.parametrize(
    ("on", "roads"),
    [
        ("message", {"message"}),
        ("create", {"create"}),
        ("agent", {"agent"}),
        ("tool_outputs", {"tool_outputs"}),
        ("send", {"message", "agent"}),
        ("any", {"message", "agent", "create", "tool_outputs"}),
    ],
)
def test_roads(on: Any, roads: set[str]) -> None:
    assert {road for road in ROADS if Fault("error", on=on).meets(road, False)} == roads


def test_a_fault_waits_for_its_request_and_lets_others_pass() -> None:
    faults = Faults()
    faults.add(Fault("no_done", on="any"))
    faults.add(Fault("error", on="create"))
    assert faults.take("message", False) is None
    assert faults.take("create", False) == Fault("error", on="create")
    assert faults.take("message", True) == Fault("no_done", on="any")


def test_expire_is_for_messages_and_tool_outputs() -> None:
    met = {road: Fault("expire", on="any").meets(road, False) for road in ROADS}
    assert met == {"message": True, "create": False, "agent": False, "tool_outputs": True}


@pytest.mark.parametrize("wrong", [{"kind": "x"}, {"on": "x"}, {"times": 0}, {"status": 200}])
def test_wrong_orders(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Fault(**{"kind": "error", **wrong})


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({}, 502, "compute_error"),
        ({"status": 429}, 429, "rate_limited"),
        ({"status": 500}, 500, "internal_error"),
        ({"status": 418}, 418, None),
        ({"code": "quota_exceeded"}, 429, "quota_exceeded"),
        ({"code": "odd"}, 502, "odd"),
        ({"code": "odd", "status": 409}, 409, "odd"),
    ],
)
def test_status_and_code_complete_each_other(
    given: dict[str, Any], status: int, code: str | None
) -> None:
    refusal = Fault("error", **given).refusal()
    assert (refusal.status, refusal.code) == (status, code)


def test_there_are_twelve_kinds() -> None:
    assert len(set(KINDS)) == 12
