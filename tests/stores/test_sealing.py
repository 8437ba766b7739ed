"""Transcripts at rest."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.stores.sealing import sealer

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key()


@pytest.mark.parametrize("line", ["", "Ada", "ü\u2028\x00", "\ud800 alone", "x" * 100_000])
def test_what_was_sealed_is_read_again(line: str) -> None:
    sealed = sealer(SecretStr(OLD))
    kept = sealed.seal(line)
    assert not line or line not in kept
    assert sealed.open(kept) == line
    assert sealer(None).open(sealer(None).seal(line)) == line


def test_keys_are_changed_one_after_the_other() -> None:
    kept = sealer(OLD).seal("Ada")
    both = sealer([NEW, OLD])
    assert both.open(kept) == "Ada"
    renewed = both.renew(kept)
    assert sealer(NEW).open(renewed) == "Ada"
    with pytest.raises(StoreError, match="can't be decrypted"):
        sealer(NEW).open(kept)


def test_lines_from_before_there_was_a_key_are_read_and_sealed() -> None:
    sealed = sealer(NEW)
    assert sealed.open("Ada") == "Ada"
    assert "Ada" not in sealed.renew("Ada")


def test_without_a_key_nothing_sealed_is_taken_for_text() -> None:
    with pytest.raises(StoreError, match="without a key"):
        sealer(None).open(sealer(NEW).seal("Ada"))


def test_what_was_changed_is_noticed() -> None:
    kept = sealer(NEW).seal("Ada")
    for damaged in (kept[:-4] + "AAA=", kept[:-4] + "ü"):
        with pytest.raises(StoreError):
            sealer(NEW).open(damaged)


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        sealer("my secret key")
    assert "secret key" not in str(caught.value)
