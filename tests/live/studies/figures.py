"""What all the other studies have shown by the way: how long things took, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from ..lab import Lab
from ..questions import Question, Study, anything
from ..seen import Seen
from .limits import retry_after

KINDS: dict[str, Callable[[Seen], bool]] = {
    "latency.create": lambda seen: seen.path == "/v1/sessions",
    "latency.message": lambda seen: seen.path.endswith("/messages") and not seen.is_stream,
    "latency.agent": lambda seen: seen.path == "/v1/agent" and not seen.is_stream,
    "latency.stream": lambda seen: seen.is_stream,
}


def _figures(lab: Lab) -> None:
    answered = [seen for seen in lab.line.seen if seen.ok]
    for name, is_one in KINDS.items():
        times = [seen.seconds for seen in answered if is_one(seen)]
        firsts = [seen.first for seen in answered if is_one(seen) and seen.first is not None]
        if not times:
            lab.not_tried(name, "nothing of the kind was answered")
            continue
        first = (
            f", first byte {median(firsts):.3f} s" if name == "latency.stream" and firsts else ""
        )
        value = f"median {median(times):.3f} s, {min(times):.3f} to {max(times):.3f} s"
        lab.found(name, f"{value}, {len(times)} answers{first}")
    _incidents(lab)


def _incidents(lab: Lab) -> None:
    told = [seen for seen in lab.line.seen if seen.status in (429, 503)]
    if told:
        value = ", ".join(sorted({f"{seen.status} {retry_after(seen)}" for seen in told}))
        lab.found("incidents.retry_after", value, *told[:3])
    else:
        lab.not_tried("incidents.retry_after", "no 429 and no 503 came")
    bad = [seen for seen in lab.line.seen if seen.failure or (seen.status or 0) >= 500]
    value = ", ".join(sorted({seen.refusal for seen in bad}))
    lab.found("incidents.failures", value or "none", *bad[:3])


FIGURES = Study(
    "figures",
    (
        *(
            Question(
                name,
                f"How long does it take? ({name.partition('.')[2]})",
                "less than the time-outs of api/transport.py",
                anything,
                "",
            )
            for name in KINDS
        ),
        Question(
            "incidents.retry_after",
            "Does a 429 or 503 say when to come again?",
            "in seconds, as a date, or not at all",
            anything,
            "",
        ),
        Question(
            "incidents.failures",
            "What went wrong by the way?",
            "what the failure table of the library lists",
            anything,
            "",
        ),
    ),
    _figures,
    credits=0,
    requests=0,
)
