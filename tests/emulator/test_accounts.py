from __future__ import annotations

import pytest

from stewrd_integrations.emulator import Settings
from stewrd_integrations.emulator.accounts import Account
from stewrd_integrations.emulator.errors import Refusal, refuse


def test_charges_and_refunds() -> None:
    account = Account(Settings(credits=5, quota=1))
    assert account.charge(3) == 3
    with pytest.raises(Refusal):
        account.check_quota()
    account.settle(3, refuse("invalid_body"))
    assert account.credits == 2
    account.settle(3, refuse("compute_error"))
    assert account.credits == 5
    account.check_quota()


def test_nothing_is_given_back_to_who_paid_nothing() -> None:
    account = Account(Settings(credits=5, quota=1))
    account.charge(1)
    account.settle(0, refuse("compute_error"))
    with pytest.raises(Refusal):
        account.check_quota()


def test_the_rest_is_charged_as_far_as_it_is_there() -> None:
    account = Account(Settings(credits=5))
    assert [account.charge_rest(3, 1), account.charge_rest(1, 3), account.charge_rest(9, 0)] == [
        *[2, 0, 3]
    ]
    with pytest.raises(Refusal):
        account.charge(1)
