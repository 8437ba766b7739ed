"""The store of several machines: Redis 6.2 or newer, or Valkey."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import ConfigurationError, StoreError
from ..sessions.binding import DAY, Binding
from ..sessions.effects import NoteState
from . import redis_scripts as scripts
from .base import Inventory, Kept, changed
from .redis_connections import Connections
from .redis_scripts import Request, Script, Word
from .redis_values import (
    damaged,
    digest,
    kept_bindings,
    milliseconds,
    other_layout,
    read_binding,
    read_bindings,
    read_json,
    read_note,
    read_note_or_empty,
    read_slots,
    text,
    to_bytes,
)
from .sealing import Canary, EncryptionKey, Renewal, sealer
from .settings import LAYOUT, checked_namespace, checked_ttl

TRIES = 100
BATCH = 500
"""Keys that one command of an inventory may name."""


class RedisStore:
    """Bindings, slots, notes and transcripts in a Redis that all workers share.

    Bindings that an earlier run of the server, or another line of its replication history, has
    written are not taken: after a restart from an old dump, or a failover to a replica that
    lagged behind, they may have been taken before. Such conversations are replayed. The history
    also changes when a first replica comes, as `redis-cli --rdb` is one, and when a server frees
    its backlog an hour after its last replica went (``repl-backlog-ttl``). So the user needs
    INFO. Set ``maxmemory-policy noeviction``: a Redis that evicts keys forgets transcripts, and
    what keeps those that are encrypted from being mixed with others.

    Commands are never repeated by themselves, whatever the URL says, since a repeated pop would
    lose a binding. A pickled store carries the URL, with the password if there is one in it.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://`` (TLS) or ``unix:///path``; its
            query is redis-py's.
        namespace: Keeps applications that share a server apart.
        encryption_key: A Fernet key, or several of which the first encrypts: transcripts are
            then encrypted at rest. The names of conversations are not.
        transcript_ttl: Seconds that a transcript is kept after its last line; None keeps it.
        timeout: Seconds to connect, and for each command, unless the URL's query says otherwise.

    Raises:
        ConfigurationError: The URL, which is not shown, or a setting can't be used, or the
            redis package is missing. Nothing is connected before the first use.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "default",
        encryption_key: EncryptionKey | Sequence[EncryptionKey] | None = None,
        transcript_ttl: float | None = None,
        timeout: float = 1.0,
    ) -> None:
        self._settings = (url, namespace, transcript_ttl, timeout)
        self._encrypts = encryption_key is not None
        self._namespace = checked_namespace(namespace)
        self._sealer = sealer(encryption_key)
        self._canary = Canary(self._sealer, self._encrypts)
        ttl = checked_ttl(transcript_ttl)
        self._transcript_ttl = 0 if ttl is None else milliseconds(ttl)
        self._start = f"stewrd:{{{self._namespace}}}:"
        self._connections = Connections(url, timeout)

    def __repr__(self) -> str:
        return f"RedisStore({self._connections!r}, namespace={self._namespace!r})"

    def __reduce__(self) -> tuple[object, ...]:
        if self._encrypts:
            raise ConfigurationError(
                "A store with an encryption key can't be pickled: the key would lie in the pickle.",
                advice="Open the store anew where it is needed, with open_store().",
            )
        if self._connections.has_password:
            raise ConfigurationError(
                "A store whose URL holds a password can't be pickled: it would lie in the pickle.",
                advice="Open the store anew where it is needed, with open_store().",
            )
        return _rebuilt, self._settings

    def __copy__(self) -> RedisStore:
        return self

    def __deepcopy__(self, memo: object) -> RedisStore:
        # It stands for the server, as a URL does: a model and its copy share it, key and all.
        return self

    # -- bindings ------------------------------------------------------------------------

    def take(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """Pop a binding by the first key that hits."""
        while found := self._run(self._take(keys, unique)):
            binding = read_binding(found[0])
            if binding is not None:
                return binding
        return None

    async def atake(self, keys: tuple[str, ...], unique: bool = False) -> Binding | None:
        """`take` for the event loop."""
        while found := await self._arun(self._take(keys, unique)):
            binding = read_binding(found[0])
            if binding is not None:
                return binding
        return None

    def peek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """The bindings that repeated takes would pop."""
        return read_bindings(self._run(self._peek(keys, unique)))

    async def apeek(self, keys: tuple[str, ...], unique: bool = False) -> list[Binding]:
        """`peek` for the event loop."""
        return read_bindings(await self._arun(self._peek(keys, unique)))

    def put(self, binding: Binding, ttl: float) -> None:
        """Keep a binding for ``ttl`` seconds."""
        self._run(self._put(binding, ttl))

    async def aput(self, binding: Binding, ttl: float) -> None:
        """`put` for the event loop."""
        await self._arun(self._put(binding, ttl))

    def _take(self, keys: tuple[str, ...], unique: bool) -> Request:
        names = [self._key("k", key) for key in keys]
        return self._ask(scripts.TAKE, names, f"{self._start}b:", f"{self._start}k:", int(unique))

    def _peek(self, keys: tuple[str, ...], unique: bool) -> Request:
        names = [self._key("k", key) for key in keys]
        return self._ask(scripts.PEEK, names, f"{self._start}b:", int(unique))

    def _put(self, binding: Binding, ttl: float) -> Request:
        id_, digests = digest(binding.id), [digest(key) for key in binding.keys]
        bindings, keys = f"{self._start}b:", f"{self._start}k:"
        return self._ask(
            scripts.PUT,
            [bindings + id_, *(keys + digest for digest in digests)],
            bindings,
            keys,
            id_,
            json.dumps(digests),
            binding.to_json(),
            milliseconds(ttl),
        )

    # -- slots ---------------------------------------------------------------------------

    def occupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """Refresh a slot, or take it if fewer than ``limit`` are alive."""
        return bool(self._run(self._occupy(pool, slot, limit, ttl)))

    async def aoccupy(self, pool: str, slot: str, limit: int, ttl: float) -> bool:
        """`occupy` for the event loop."""
        return bool(await self._arun(self._occupy(pool, slot, limit, ttl)))

    def vacate(self, pool: str, slot: str) -> None:
        """Give a slot back."""
        self._run(self._vacate(pool, slot))

    async def avacate(self, pool: str, slot: str) -> None:
        """`vacate` for the event loop."""
        await self._arun(self._vacate(pool, slot))

    def slots(self, pool: str) -> dict[str, float]:
        """The live slots of a pool, each with the seconds until it lapses."""
        return read_slots(self._run(self._ask(scripts.SLOTS, [self._key("s", pool)])))

    async def aslots(self, pool: str) -> dict[str, float]:
        """`slots` for the event loop."""
        return read_slots(await self._arun(self._ask(scripts.SLOTS, [self._key("s", pool)])))

    def _occupy(self, pool: str, slot: str, limit: int, ttl: float) -> Request:
        words = (to_bytes(f"pool:{pool}"), to_bytes(f"slot:{slot}"), limit, milliseconds(ttl))
        return self._ask(scripts.OCCUPY, [self._key("s", pool)], *words)

    def _vacate(self, pool: str, slot: str) -> Request:
        return self._ask(scripts.VACATE, [self._key("s", pool)], to_bytes(f"slot:{slot}"))

    # -- notes ---------------------------------------------------------------------------

    def note(self, key: str, change: Callable[[NoteState], NoteState] | None = None) -> NoteState:
        """Read a note, or change it and read the result.

        ``change`` is called again if somebody else has changed the note in the meantime.
        """
        (was,) = self._run(self._ask(scripts.READ_NOTE, [self._key("n", key)]))
        if change is None:
            return read_note(was)
        for pause in _pauses():
            shall_be = json.dumps(changed(change, read_note_or_empty(was))).encode()
            others = self._run(self._change_note(key, was, shall_be))
            if not others:
                return read_note(shall_be)
            (was,) = others
            time.sleep(pause)
        raise _contended("A note")

    async def anote(
        self, key: str, change: Callable[[NoteState], NoteState] | None = None
    ) -> NoteState:
        """`note` for the event loop."""
        (was,) = await self._arun(self._ask(scripts.READ_NOTE, [self._key("n", key)]))
        if change is None:
            return read_note(was)
        for pause in _pauses():
            shall_be = json.dumps(changed(change, read_note_or_empty(was))).encode()
            others = await self._arun(self._change_note(key, was, shall_be))
            if not others:
                return read_note(shall_be)
            (was,) = others
            await asyncio.sleep(pause)
        raise _contended("A note")

    def _change_note(self, key: str, was: bytes, shall_be: bytes) -> Request:
        words = (was, shall_be, milliseconds(DAY))
        return self._ask(scripts.CHANGE_NOTE, [self._key("n", key)], *words)

    # -- transcripts ---------------------------------------------------------------------

    def append(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """Add lines to a transcript, or put them in its place."""
        for _ in range(TRIES):
            others = self._run(self._append(conversation, lines, replace))
            if not others:
                return
            self._canary.check(text(others[0]))
        raise _contended("The encryption's key")

    async def aappend(self, conversation: str, lines: Sequence[str], replace: bool = False) -> None:
        """`append` for the event loop."""
        for _ in range(TRIES):
            others = await self._arun(self._append(conversation, lines, replace))
            if not others:
                return
            self._canary.check(text(others[0]))
        raise _contended("The encryption's key")

    def load(self, conversation: str) -> list[str]:
        """A conversation's transcript."""
        _, *lines = self._run(self._load(conversation)) or [b""]
        return [self._sealer.open(text(line)) for line in lines]

    async def aload(self, conversation: str) -> list[str]:
        """`load` for the event loop."""
        _, *lines = await self._arun(self._load(conversation)) or [b""]
        return [self._sealer.open(text(line)) for line in lines]

    def clear(self, conversation: str) -> None:
        """Forget a conversation's transcript."""
        self._run(self._ask(scripts.CLEAR, [self._key("t", conversation)]))

    async def aclear(self, conversation: str) -> None:
        """`clear` for the event loop."""
        await self._arun(self._ask(scripts.CLEAR, [self._key("t", conversation)]))

    def _append(self, conversation: str, lines: Sequence[str], replace: bool) -> Request:
        heading = json.dumps({"name": conversation, "edition": secrets.token_hex(8)})
        sealed = [to_bytes(self._sealer.seal(line)) for line in lines]
        known = self._canary.known or ""
        new = known or (self._canary.new() if lines else None) or ""
        words: list[Word] = [int(replace), self._transcript_ttl, known, new, heading, *sealed]
        names = [self._key("t", conversation), f"{self._start}canary"]
        return self._ask(scripts.APPEND, names, *words)

    def _load(self, conversation: str) -> Request:
        return self._ask(scripts.LOAD, [self._key("t", conversation)])

    # -- all of them -----------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """All that the store holds; it may change while it is listed."""
        names = self._names()
        pools = {}
        for name in names["s"]:
            label, *slots = self._run(self._ask(scripts.SLOTS, [name])) or [b"pool:"]
            if slots:
                pools[text(label).removeprefix("pool:")] = read_slots([label, *slots])
        bindings = [each for batch in _batches(names["b"]) for each in self._listed(batch)]
        return Inventory(
            bindings=tuple(kept_bindings(bindings)),
            pools=pools,
            notes=len(names["n"]),
            transcripts=tuple(self._kept_transcripts(names["t"])),
            void=len(names["b"]) - len(bindings),
        )

    def reencrypt(self) -> int:
        """Encrypt every line of the transcripts anew, under the newest key.

        To change keys: first ``encryption_key=[old, new]`` everywhere, so that all can read the
        new one; then ``[new, old]`` everywhere; then call this once; then ``[new]``.
        Lines that others append meanwhile are kept.

        Returns:
            How many lines there were.

        Raises:
            StoreError: The keys at hand are not this store's, and nothing was done; or some
                lines can't be read with them. Those were left as they were, all others are
                renewed, and it says which transcripts they are in. Or the store failed: what
                was done until then stays.
        """
        (canary,) = self._run(self._ask(scripts.READ_CANARY, [f"{self._start}canary"]))
        self._canary.renew(text(canary) or None)  # with wrong keys nothing is begun
        renewal = Renewal(self._sealer)
        count = sum(self._reencrypt(name, renewal) for name in self._names()["t"])
        self._renew_canary()
        renewal.check()
        return count

    def close(self) -> None:
        """Close the connections; the store opens new ones if it is used again."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connections, those of the running event loop too."""
        self._connections.close()
        await self._connections.aclose()

    def _reencrypt(self, name: str, renewal: Renewal) -> int:
        for pause in _pauses():
            kept = self._run(self._ask(scripts.LOAD, [name]))
            if not kept:
                return 0
            heading, *lines = kept
            renewed = [
                line if (new := renewal.renew(line, text, name)) is None else to_bytes(new)
                for line in lines
            ]
            if self._run(self._ask(scripts.SWAP, [name], heading, *renewed)):
                return len(lines)
            time.sleep(pause)
        raise _contended("A transcript")

    def _renew_canary(self) -> None:
        name = f"{self._start}canary"
        for pause in _pauses():
            (was,) = self._run(self._ask(scripts.READ_CANARY, [name]))
            new = self._canary.renew(text(was) or None)
            if new is None or self._run(self._ask(scripts.SWAP_CANARY, [name], was, new)):
                return
            time.sleep(pause)
        raise _contended("The encryption's key")

    def _names(self) -> defaultdict[str, list[str]]:
        """The names of all keys, by their kinds."""
        self._run(self._ask(scripts.LIST_BINDINGS, []))  # is it our layout?
        names: defaultdict[str, list[str]] = defaultdict(list)
        for name in self._connections.names(f"{self._start}*"):
            kind, _, _ = name.removeprefix(self._start).partition(":")
            names[kind].append(name)
        return names

    def _listed(self, names: list[str]) -> Iterator[tuple[bytes, int]]:
        """The bindings of this era, each with the milliseconds that it has left."""
        listed = self._run(self._ask(scripts.LIST_BINDINGS, names))
        return zip(listed[::2], listed[1::2], strict=True)

    def _kept_transcripts(self, names: list[str]) -> Iterator[Kept]:
        for batch in _batches(names):
            listed = self._run(self._ask(scripts.LIST_TRANSCRIPTS, batch))
            for place in range(0, len(listed), 3):
                heading, lines, left = listed[place : place + 3]
                name = read_json(heading).get("name")
                if not isinstance(name, str):
                    raise damaged()
                yield Kept(name, None if left < 0 else left / 1_000, lines=lines)

    # -- what goes over the wire -------------------------------------------------------------

    def _key(self, kind: str, part: str) -> str:
        return f"{self._start}{kind}:{digest(part)}"

    def _ask(self, script: Script, names: Sequence[str], *words: Word) -> Request:
        return script([f"{self._start}schema", *names], LAYOUT, *words)

    def _run(self, request: Request) -> list[Any]:
        while True:
            status, *rest = self._connections.run(request)
            if status != b"again":
                return self._checked(status, rest)

    async def _arun(self, request: Request) -> list[Any]:
        while True:
            status, *rest = await self._connections.arun(request)
            if status != b"again":
                return self._checked(status, rest)

    def _checked(self, status: bytes, rest: list[Any]) -> list[Any]:
        match status:
            case b"ok":
                return rest
            case b"blind":
                raise StoreError(
                    "Redis does not permit this user INFO, without which it can't be known "
                    "whether a binding was taken before.",
                    advice="Give the user +info, which +@all -@dangerous leaves out.",
                )
            case b"era":
                raise StoreError(
                    "Redis does not tell its run_id and its master_replid (INFO), without which "
                    "it can't be known whether a binding was taken before."
                )
            case _:
                raise other_layout(self._namespace, rest[0])


def _rebuilt(url: str, namespace: str, ttl: float | None, timeout: float) -> RedisStore:
    return RedisStore(url, namespace=namespace, transcript_ttl=ttl, timeout=timeout)


def _batches(names: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(names), BATCH):
        yield names[first : first + BATCH]


def _pauses() -> Iterator[float]:
    """Seconds to wait after each of the tries in vain; whoever collided should part."""
    for number in range(TRIES):
        yield random.uniform(0.0, min(0.0005 * 2 ** min(number, 10), 0.05))  # noqa: S311 - no secret


def _contended(what: str) -> StoreError:
    return StoreError(f"{what} was changed by others {TRIES} times while we tried to.")
