"""Transcripts at rest: as they are, or encrypted with Fernet (the `cryptography` package)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from pydantic import SecretStr

from ..errors import ConfigurationError, StoreError

EncryptionKey: TypeAlias = "str | bytes | SecretStr"
MARK = "fernet:"
"""Begins a line that is encrypted. A line of a transcript is JSON and never begins so."""


class Sealer(Protocol):
    """Turns the lines of a transcript into what is kept, and back."""

    def seal(self, line: str) -> str:
        """The line as it is kept."""

    def open(self, kept: str) -> str:
        """The line that was kept.

        Raises:
            StoreError: It can't be read with the keys at hand.
        """

    def renew(self, kept: str) -> str:
        """What was kept, sealed anew with the newest key."""


class Plain:
    """Keeps lines as they are."""

    def seal(self, line: str) -> str:
        """The line itself."""
        return line

    def open(self, kept: str) -> str:
        """The line itself, unless it is encrypted."""
        if kept.startswith(MARK):
            raise StoreError(
                "A transcript is encrypted, and the store was opened without a key.",
                advice="Open the store with encryption_key=.",
            )
        return kept

    def renew(self, kept: str) -> str:
        """The line itself, unless it is encrypted."""
        return self.open(kept)


class Sealed:
    """Encrypts lines with the first of its keys, and reads them with any.

    Lines that were kept before there was a key are read as they are.
    """

    def __init__(self, keys: Sequence[EncryptionKey]) -> None:
        self._fernet = _fernet(keys)

    def seal(self, line: str) -> str:
        """The line, encrypted."""
        token: bytes = self._fernet.encrypt(line.encode("utf-8", "surrogatepass"))
        return MARK + token.decode("ascii")

    def open(self, kept: str) -> str:
        """The line, decrypted."""
        if not kept.startswith(MARK):
            return kept
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - an extra

        try:
            line: bytes = self._fernet.decrypt(kept[len(MARK) :])
        except (InvalidToken, ValueError):  # a ValueError where it is not even ASCII
            raise StoreError(
                "A transcript can't be decrypted with the keys at hand.",
                advice="Pass the key that it was written with too: encryption_key=[key, other].",
            ) from None
        return line.decode("utf-8", "surrogatepass")

    def renew(self, kept: str) -> str:
        """The line, encrypted with the first key."""
        return self.seal(self.open(kept))


class Canary:
    """A sealed word beside the transcripts: who can't open it must not add to them.

    Others could not read such lines, nor clear them away from among their own. The first line
    that is sealed brings the word along; transcripts that are plain have none.

    Args:
        sealer: What seals the lines.
        encrypts: Whether it has a key.
    """

    WORD = "stewrd"

    def __init__(self, sealer: Sealer, encrypts: bool) -> None:
        self._sealer = sealer
        self._encrypts = encrypts
        self.known: str | None = None

    def new(self) -> str | None:
        """The word to be kept where there is none; None without a key."""
        return self._sealer.seal(self.WORD) if self._encrypts else None

    def check(self, kept: str) -> None:
        """Look whether it can be opened, and remember it.

        Raises:
            ConfigurationError: Not with the keys at hand.
        """
        if kept == self.known:
            return
        try:
            self._sealer.open(kept)
        except StoreError:
            with_what = "with another key" if self._encrypts else "and it was opened without a key"
            raise ConfigurationError(
                f"The transcripts of this store are encrypted {with_what}; nothing was added.",
                advice="Open it with its encryption_key=. To change keys, open it everywhere with "
                "[old, new], then everywhere with [new, old], then call reencrypt(), and then "
                "leave the old key out. Or use another namespace=.",
            ) from None
        self.known = kept

    def renew(self, kept: str | None) -> str | None:
        """The word sealed with the newest key, None for none."""
        return self.new() if kept is None else self._sealer.renew(kept)


class Renewal:
    """Brings lines under the newest key, and remembers where it couldn't.

    Args:
        sealer: What seals the lines.
    """

    SHOWN = 10

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._left: Counter[str] = Counter()

    def renew(self, kept: Any, read: Callable[[Any], str], transcript: object) -> str | None:
        """A line under the newest key, or None if it can't be read.

        Args:
            kept: The line.
            read: Makes a text of what was kept, or raises a `StoreError`.
            transcript: The key under which the store keeps the line's transcript.
        """
        try:
            return self._sealer.renew(read(kept))
        except StoreError:
            key = transcript if isinstance(transcript, bytes) else str(transcript).encode()
            self._left[key.decode("utf-8", "backslashreplace")] += 1
            return None

    def check(self) -> None:
        """Tell of what couldn't be read.

        Raises:
            StoreError: There was such a line; it names the first transcripts by their keys.
        """
        if not self._left:
            return
        shown = ", ".join(map(repr, sorted(self._left)[: self.SHOWN]))
        more = len(self._left) - self.SHOWN
        raise StoreError(
            f"{self._left.total()} lines in {len(self._left)} transcripts can't be read with the "
            f"keys at hand, and were left as they are: {shown}"
            f"{f' and {more} more' if more > 0 else ''}. All others are renewed.",
            advice="Call it again with the key that they were written with too, or clear them.",
        )


def sealer(key: EncryptionKey | Sequence[EncryptionKey] | None) -> Sealer:
    """What keeps the lines of transcripts.

    Args:
        key: A Fernet key (44 characters, as ``Fernet.generate_key()`` makes them), or several:
            the first encrypts, and all of them decrypt, so that keys can be changed. None
            keeps transcripts as they are.

    Raises:
        ConfigurationError: A key is malformed (it is not shown), or `cryptography` is missing.
    """
    if key is None:
        return Plain()
    keys = [key] if isinstance(key, (str, bytes, SecretStr)) else list(key)
    if not keys:
        raise ConfigurationError(
            "encryption_key is an empty list.", advice="Pass one key at least, or None."
        )
    return Sealed(keys)


def _fernet(keys: Sequence[EncryptionKey]) -> Any:
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "encryption_key= needs the cryptography package.",
            advice='Install "stewrd-integrations[encryption]".',
        ) from None
    try:
        return MultiFernet([Fernet(_plain(key)) for key in keys])
    except (ValueError, TypeError):
        raise ConfigurationError(
            "encryption_key is not a Fernet key.",
            advice="Make one with cryptography.fernet.Fernet.generate_key().",
        ) from None


def _plain(key: EncryptionKey) -> str | bytes:
    return key.get_secret_value() if isinstance(key, SecretStr) else key
