"""`python -m tests.cassettes.record`: record the conversations anew.

From the emulator, or with `--live` from the live API, whose key is in STEWRD_API_KEY: that costs
credits, and two of the project's sessions for 30 minutes. Run twice, it changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import StewrdError

from .scenes import SCENES, Told, play
from .tape import ADDRESS, FOLDER, Source, record, write

COST = 6
"""Credits of one conversation at most: a turn each, the last one twice if tools are refused."""
NOTES: dict[Source, str] = {
    "emulator": "Recorded from this package's emulator; nobody has compared it with the live API.",
    "live": "Recorded from the live API; keys, ids, accounts and times are replaced.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record every conversation; 1 if the live API was wanted and could not be asked."""
    options = _parser().parse_args(arguments)
    day = datetime.now(timezone.utc).date().isoformat()
    if not options.live:
        for name in SCENES:
            record_emulator(name, options.folder, day)
        return 0
    key = os.environ.get("STEWRD_API_KEY", "")
    if not key:
        _say("Set STEWRD_API_KEY to record from the live API.")
        return 1
    if not options.yes and not _is_wanted():
        _say("Nothing was sent.")
        return 1
    address = os.environ.get("STEWRD_BASE_URL") or ADDRESS
    try:
        for name in SCENES:
            record_live(name, options.folder, day, address, key)
    except StewrdError as error:
        _say(f"{error} The cassette of this conversation was not written.")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cassettes.record",
        description="Record the cassettes anew, from the emulator unless --live is given.",
    )
    parser.add_argument("--live", action="store_true", help="from the live API: costs credits")
    parser.add_argument("--yes", action="store_true", help="with --live: do not ask")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are put")
    return parser


def _is_wanted() -> bool:
    _say(
        f"This has {len(SCENES)} conversations with the live API: at most {COST * len(SCENES)} "
        "credits and, for 30 minutes, one of the project's 10 sessions each. What is said and "
        "answered goes into the cassettes."
    )
    _say('Type "yes" to go on: ', end="")
    return sys.stdin.readline().strip().lower() == "yes"


def record_emulator(name: str, folder: Path, day: str) -> list[Told]:
    """Record one conversation from an emulator whose sessions take tools."""
    with Emulator(session_tools="accepted") as emulator:
        address = emulator.url, emulator.api_key
        return _record(name, folder / "emulator", "emulator", day, address, emulator.expire)


def record_live(name: str, folder: Path, day: str, address: str, key: str) -> list[Told]:
    """Record one conversation from a server; its session does not die, as that takes long."""
    return _record(name, folder / "live", "live", day, (address, key), None)


def _record(
    name: str,
    folder: Path,
    source: Source,
    day: str,
    address: tuple[str, str],
    expire: Callable[[], None] | None,
) -> list[Told]:
    with record() as exchanges:
        told = asyncio.run(_played(name, address, expire))
    path = folder / f"{name}.yaml"
    changed = write(path, source, day, NOTES[source], exchanges)
    _say(f"{path}: {'written' if changed else 'unchanged'}")
    return told


async def _played(name: str, address: tuple[str, str], expire: Any) -> list[Told]:
    return await play(SCENES[name](*address, "sync"), expire)


def _say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
