"""The command: looks at one thing after the other, and tells of each as soon as it is known."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence

from ..api.credentials import ApiKey
from ..api.settings import Settings
from .asking import Line
from .findings import Finding, as_json, as_lines, summary
from .keys import find_key
from .network import Place, find_address, way_to
from .packages import python_and_packages
from .service import Service, now_told
from .stores import look_at_store


class Examination:
    """Everything that is looked at, in its order."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._service: Service | None = None

    def findings(self) -> Iterator[Finding]:
        """Look, and tell."""
        yield from python_and_packages()
        key, finding = find_key()
        yield finding
        place, finding = find_address(self._options.base_url)
        yield finding
        if place is not None:
            yield from self._network(place, None if key is None else ApiKey(key))
        project = None
        if key is not None and place is not None:
            project = _project(place, ApiKey(key))
        yield look_at_store(self._options.store, project)

    def _network(self, place: Place, key: ApiKey | None) -> Iterator[Finding]:
        reached = True
        for finding in way_to(place):
            yield finding
            reached = reached and finding.grade != "problem"
        if not reached or key is None:
            why = "the API was not reached" if key else "there is no key that can be used"
            yield Finding("API", "note", f"not asked: {why}")
            return
        line = Line(place.url, key, self._options.timeout)
        self._service = Service(
            line, credit=not self._options.no_credit, session=self._options.session
        )
        try:
            yield from self._service.examine()
        finally:
            line.close()

    @property
    def credits_spent(self) -> float | None:
        """Credits that were spent; None if that is not known."""
        return self._service.spent if self._service else 0.0

    @property
    def told_of_credits(self) -> str:
        """The same in words."""
        spent = self.credits_spent
        if spent is None:
            return "Whether a credit was spent is not known."
        return f"{spent:g} credit{'' if spent == 1 else 's'} spent."


def _project(place: Place, key: ApiKey) -> str:
    """The project's name in stores, which does not give the key away."""
    settings = Settings(
        key,
        base_url=place.url,
        timeout=None,
        stall_timeout=None,
        max_retries=0,
        default_headers=None,
    )
    return settings.project


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine; 1 if there is a problem."""
    options = _parser().parse_args(arguments)
    examination, found = Examination(options), []
    if not options.json:
        _say(f"stewrd-integrations doctor, {now_told()}\n")
    for finding in examination.findings():
        found.append(finding)
        if not options.json:
            _say(as_lines(finding))
    if options.json:
        _say(json.dumps(as_json(found, examination.credits_spent), indent=2))
    else:
        _say("\n" + summary(found, examination.told_of_credits))
    return int(any(finding.grade == "problem" for finding in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stewrd_integrations.doctor",
        description="Finds out what keeps this machine from talking to Stewrd, and says what to "
        "do. The key comes from STEWRD_API_KEY and is never shown. It asks for one run, which "
        "costs one credit; all else that it asks are empty messages, which the API refuses for "
        "nothing.",
    )
    add = parser.add_argument
    add("--base-url", default=None, help="address of the API; else STEWRD_BASE_URL")
    add("--store", default=None, help="URL of the store; else STEWRD_STORE")
    add("--no-credit", action="store_true", help="ask for no run: only what the API refuses")
    add("--session", action="store_true", help="open a session: it takes a slot for 30 minutes")
    add("--timeout", type=_seconds, default=20.0, help="seconds that an answer may take (20)")
    add("--json", action="store_true", help="print JSON")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not math.isfinite(seconds) or seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
