"""`python -m stewrd_integrations.stores URL`: what a store holds, for people who look after it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from ..errors import ConfigurationError, StewrdError
from .base import Inspected, Inventory, Kept, Store
from .memory import MemoryStore
from .opening import open_store

PROVISIONAL = "/provisional"
"""Ends the pool of sessions that unnamed first turns hold; each has a slot of its own too."""

GHOST = "opening-"
"""Begins a slot without a known session: one being opened, or of a create that went astray."""

SHOWN = 12

VOID = "this is a copy, or its server began anew; the next worker forgets them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a store holds; 1 if it can't be read."""
    options = _parser().parse_args(arguments)
    try:
        store = open_store(options.url, namespace=options.namespace)
        _check_that_it_is_there(store)
        held = cast(Inspected, store).inventory()
    except StewrdError as error:
        _print(f"The store can't be read: {error}", sys.stderr)
        return 1
    told = report(held, options.limit, time.time())
    text = json.dumps(told, indent=2) if options.json else "\n".join([repr(store), *_table(told)])
    _print(text, sys.stdout)
    return 0


def _print(text: str, where: TextIO) -> None:
    """Print what a terminal may have no characters for."""
    encoding = where.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=where)


def _check_that_it_is_there(store: Store) -> None:
    """Looking must not make a file, nor tell of this very process."""
    if isinstance(store, MemoryStore):
        raise ConfigurationError(
            "memory:// is within each process.", advice="Name an SQLite or Redis store."
        )
    path = getattr(store, "path", None)
    if path is not None and not Path(path).exists():
        raise ConfigurationError(f"There is no file {path!r}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stewrd_integrations.stores",
        description="Shows the sessions, slots and conversations that a store holds. "
        "It changes nothing.",
    )
    add = parser.add_argument
    add("url", nargs="?", help="sqlite:///path.db or redis://...; else STEWRD_STORE")
    add("--namespace", default=None, help="of the application, if it has one of its own")
    add("--limit", type=int, default=10, help="sessions that a project may have (10)")
    add("--json", action="store_true", help="print JSON")
    return parser


def report(held: Inventory, limit: int, now: float) -> dict[str, Any]:
    """An inventory as plain JSON values; times in seconds."""
    return {
        "projects": [
            _project(name, slots, held.pools.get(name + PROVISIONAL, {}), limit)
            for name, slots in sorted(held.pools.items())
            if not name.endswith(PROVISIONAL)
        ],
        "void_bindings": held.void,
        "bindings": sorted((_binding(kept, now) for kept in held.bindings), key=_idle),
        "conversations": sorted(
            (
                {"conversation": kept.name, "lines": kept.lines, "expires_in": _round(kept.left)}
                for kept in held.transcripts
            ),
            key=lambda row: str(row["conversation"]),
        ),
        "notes": held.notes,
    }


def _project(
    name: str, slots: dict[str, float], provisional: Iterable[str], limit: int
) -> dict[str, Any]:
    ghosts = sum(slot.startswith(GHOST) for slot in slots)
    return {
        "project": name,
        "limit": limit,
        "used": len(slots),
        "free": max(0, limit - len(slots)),
        "ghosts": ghosts,
        "provisional": len(set(provisional) & set(slots)),
        "next_to_expire_in": _round(min(slots.values(), default=None)),
        "slots": {slot: _round(left) for slot, left in sorted(slots.items(), key=lambda s: s[1])},
    }


def _binding(kept: Kept, now: float) -> dict[str, Any]:
    binding = kept.binding
    assert binding is not None
    return {
        "session": binding.session_id,
        "messages_used": binding.used,
        "messages_covered": binding.covered.count,
        "generation": binding.generation,
        "idle_for": _round(max(0.0, now - binding.sent_at)) if binding.session_id else None,
        "expires_in": _round(kept.left),
    }


def _idle(row: dict[str, Any]) -> tuple[bool, float]:
    return row["idle_for"] is None, row["idle_for"] or 0.0


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


# -- as a table ------------------------------------------------------------------------


def _table(told: dict[str, Any]) -> list[str]:
    return [*_slots(told), *_bindings(told), *_conversations(told)]


def _slots(told: dict[str, Any]) -> list[str]:
    lines = ["", "Slots"]
    if not told["projects"]:
        lines.append("  none is taken")
    for project in told["projects"]:
        name = _short(project["project"][:SHOWN])
        lines.append(
            f"  project {name}: {project['used']} of {project['limit']} "
            f"used, {project['free']} free, {project['ghosts']} without a known session, "
            f"the next lapses in {_time(project['next_to_expire_in'])}"
        )
        lines += _columns(
            ["SLOT", "LAPSES IN"],
            [[_short(slot), _time(left)] for slot, left in project["slots"].items()],
        )
    return lines


def _bindings(told: dict[str, Any]) -> list[str]:
    rows = [
        [
            _short(row["session"] or "(no session yet)"),
            str(row["messages_used"]),
            str(row["messages_covered"]),
            _time(row["idle_for"]),
            _time(row["expires_in"]),
        ]
        for row in told["bindings"]
    ]
    head = ["SESSION", "USED", "COVERED", "IDLE FOR", "FORGOTTEN IN"]
    void = told["void_bindings"]
    more = [f"  {void} more are void: {VOID}"] if void else []
    return ["", f"Bindings ({len(rows)})", *_columns(head, rows), *more]


def _conversations(told: dict[str, Any]) -> list[str]:
    rows = [
        [_short(row["conversation"]), str(row["lines"]), _time(row["expires_in"], "never")]
        for row in told["conversations"]
    ]
    head = ["CONVERSATION", "LINES", "FORGOTTEN IN"]
    return ["", f"Transcripts ({len(rows)})", *_columns(head, rows)]


def _columns(head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        .rstrip()
        for row in [head, *rows]
    ]  # fmt: skip


def _short(name: str) -> str:
    """A name short enough for a line of a terminal, without what a terminal would obey."""
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _time(seconds: float | None, never: str = "-") -> str:
    if seconds is None:
        return never
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


if __name__ == "__main__":
    sys.exit(main())
