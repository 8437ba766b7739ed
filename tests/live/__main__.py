"""`python -m tests.live`: ask the live API, or with `--emulator` the emulator, what it does.

The live API is asked with the key in STEWRD_API_KEY, and only after a yes to what it may cost.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from stewrd_integrations.api.credentials import check_base_url
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.errors import ConfigurationError

from .agent import agent
from .lab import Limits
from .questions import Group
from .report import write
from .run import Outcome, Wish, run
from .studies import STUDIES
from .targets import ADDRESS, Emulated, Live, Target

SWITCHES: dict[Group, str] = {
    "wait": "wait until a session has expired and outputs come too late: 36 minutes",
    "slots": "open sessions until one is refused: they hold all slots for 30 minutes",
    "cap": "fill two sessions with 50 messages",
    "rate": "send more requests than a minute may have",
    "low-balance": "ask for more than a balance below 15 credits; done alone",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and write the report. 0: to the end; 1: stopped; 2: nothing was to be had."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted({*options.only} - {study.name for study in STUDIES})
    if unknown:
        parser.error(f"unknown studies: {', '.join(unknown)}")
    wish = _wish(options)
    if options.emulator:
        with Emulator(agent=agent, capabilities=_all_but(wish.limits.disabled)) as emulator:
            return _reported(Emulated(emulator), wish, options.report)
    key = os.environ.get("STEWRD_API_KEY", "").strip()
    if not key or not key.isascii() or not key.isprintable():
        _say("Set STEWRD_API_KEY to the key of a project, or pass --emulator.")
        return 2
    try:
        address = check_base_url(os.environ.get("STEWRD_BASE_URL") or ADDRESS)
    except ConfigurationError as error:
        _say(str(error))
        return 2
    if not options.yes and not _is_wanted(wish):
        _say("Nothing was sent.")
        return 2
    return _reported(Live(key, address), wish, options.report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.live",
        description="Ask the live API what its documentation does not say, and write a report.",
    )
    parser.add_argument("--emulator", action="store_true", help="ask the emulator: no key, no cost")
    parser.add_argument("--yes", action="store_true", help="do not ask before credits are spent")
    parser.add_argument("--report", type=Path, default=Path("live-report.md"), metavar="PATH")
    parser.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="STUDY",
        help=f"some of: {', '.join(study.name for study in STUDIES)}",
    )
    parser.add_argument("--max-credits", type=int, metavar="N", help="stop before more are spent")
    parser.add_argument(
        "--disabled",
        metavar="CAPABILITY",
        help="a capability that the project has not enabled: to see what 403 does",
    )
    parser.add_argument(
        "--length",
        type=int,
        metavar="CHARACTERS",
        help="send a message so long, and look for the limit below it",
    )
    for name, what in SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", help=what)
    return parser


def _wish(options: argparse.Namespace) -> Wish:
    groups = {name for name in SWITCHES if getattr(options, name.replace("-", "_"))}
    limits = {"disabled": options.disabled}
    if options.length is not None:
        groups.add("length")
        limits["longest"] = max(options.length, 2_000)
    if options.emulator and options.disabled is None:
        limits["disabled"] = "documents"
    wanted = cast("frozenset[Group]", frozenset(groups))
    return Wish(wanted, tuple(options.only), Limits(**limits), options.max_credits)


def _all_but(name: str | None) -> tuple[str, ...]:
    known = ("chat", "research", "documents", "code", "data", "files")
    return tuple(each for each in known if each != name)


def _is_wanted(wish: Wish) -> bool:
    names = ", ".join(study.name for study in wish.studies)
    minutes = 36 if "wait" in wish.groups else 0
    _say(
        f"This asks the live API, with the key in STEWRD_API_KEY: {names}.\n"
        f"It takes at most {wish.credits} credits and {wish.requests} requests, some "
        f"{wish.requests // 20 + minutes + 1} minutes, and at most {wish.sessions} of the "
        "project's sessions, which hold their slots for 30 minutes. It stops at these limits.\n"
        "Nobody else should use the project meanwhile: what is charged is read off its balance."
    )
    for name in sorted(wish.groups & SWITCHES.keys()):
        _say(f"--{name}: {SWITCHES[name]}.")
    sys.stdout.write('Type "yes" to go on: ')
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "yes"


def _reported(target: Target, wish: Wish, path: Path) -> int:
    outcome = run(target, wish, _say)
    page, data = write(outcome, path)
    _say(f"{_in_short(outcome)}\nThe report: {page} and {data}")
    return outcome.exit_code


def _in_short(outcome: Outcome) -> str:
    findings = [finding for _, finding in outcome.findings]
    observed = [finding for finding in findings if finding.verdict == "observed"]
    differ = [finding.question.name for finding in observed if not finding.agrees]
    told = f"{len(observed)} of {len(findings)} questions answered, for {outcome.credits} credits."
    if differ:
        told += f" Not as the library assumes: {', '.join(differ)}."
    return f"{told} {outcome.stopped}".rstrip()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
