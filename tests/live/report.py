"""What a run has found, for readers and for programs, without keys, ids and accounts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .questions import Finding, Study
from .run import Outcome
from .seen import Seen

_KEY = re.compile(r"sk-stw_[^\s\"']*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAMED = re.compile(
    r"\"(?P<name>id|request_id|session_id|tool_call_id|_compute_instance|project_id|url|"
    r"credits_remaining)\"(?P<colon>\s*:\s*)(?P<value>\"(?:[^\"\\]|\\.)*\"|-?\d+)"
)
_LONG, _SHORT = 2_000, 400


def write(outcome: Outcome, path: Path) -> tuple[Path, Path]:
    """Write both forms: Markdown at this path, and JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hide = Hider(outcome.key)
    data = as_data(outcome, hide)
    beside = path.with_suffix(".json")
    path.write_text(hide(as_markdown(data)), encoding="utf-8")
    beside.write_text(hide(json.dumps(data, indent=2, ensure_ascii=False)) + "\n", encoding="utf-8")
    return path, beside


class Hider:
    """Takes out of a text what is nobody's business; the same id gets the same number."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._ids: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text without it."""
        if self._key:
            text = text.replace(self._key, "[key]")
        text = _NAMED.sub(self._named, _KEY.sub("[key]", text))
        for value, name in self._ids.items():
            text = text.replace(value, name)
        return _UUID.sub(lambda match: self._number(match[0]), text)

    def _named(self, match: re.Match[str]) -> str:
        name, value = match["name"], match["value"].strip('"')
        hidden = {"project_id": "[project]", "url": "[url]", "credits_remaining": "[balance]"}
        shown = hidden.get(name) or (value if value.startswith("[") else self._number(value))
        return f'"{name}"{match["colon"]}"{shown}"'

    def _number(self, value: str) -> str:
        number = f"[id {len(self._ids) + 1}]"
        # A short id may be a word, and must not be taken out of all texts.
        return self._ids.setdefault(value, number) if len(value) > 7 else "[id]"


# -- for programs ----------------------------------------------------------------------


def as_data(outcome: Outcome, hide: Hider) -> dict[str, Any]:
    """The whole run as JSON."""
    return {
        "target": outcome.target,
        "address": outcome.address,
        "began": outcome.began,
        "stopped": outcome.stopped,
        "credits": outcome.credits,
        "requests": outcome.requests,
        "studies": {
            name: {"credits": credits, "requests": requests}
            for name, (credits, requests) in outcome.spent.items()
        },
        "findings": [_finding(study, finding, hide) for study, finding in outcome.findings],
    }


def _finding(study: Study, finding: Finding, hide: Hider) -> dict[str, Any]:
    question = finding.question
    return {
        "study": study.name,
        "name": question.name,
        "question": question.text,
        "verdict": finding.verdict,
        "value": finding.value,
        "why": finding.why,
        "how": finding.how,
        "assumes": question.assumes,
        "agrees": finding.agrees,
        "otherwise": question.otherwise if finding.agrees is False else "",
        "credits": finding.credits,
        "exchanges": [_exchange(seen, hide) for seen in finding.exchanges],
    }


def _exchange(seen: Seen, hide: Hider) -> dict[str, Any]:
    sent = json.dumps(seen.sent, ensure_ascii=False) if seen.sent is not None else ""
    return {
        "path": hide(seen.path),
        "sent": hide(sent)[:_LONG],
        "status": seen.status,
        "failure": seen.failure,
        "headers": seen.headers,
        "came": hide(seen.text)[:_LONG],
        "seconds": round(seen.seconds, 3),
    }


# -- for readers -----------------------------------------------------------------------


def as_markdown(data: dict[str, Any]) -> str:
    """The same as a page."""
    lines = [*_head(data), *_table(data["findings"]), ""]
    for finding in data["findings"]:
        lines += _section(finding)
    return "\n".join(lines).rstrip() + "\n"


def _head(data: dict[str, Any]) -> list[str]:
    findings = data["findings"]
    told = {
        verdict: sum(each["verdict"] == verdict for each in findings)
        for verdict in ("observed", "not tried", "inconclusive")
    }
    differ = sum(each["agrees"] is False for each in findings)
    whom = "the live API" if data["target"] == "live" else "the emulator (not the live API)"
    lines = [
        f"# What {whom} does",
        "",
        f"{data['address']}, {data['began']}: {data['requests']} requests, "
        f"{data['credits']} credits.",
        "",
        f"{told['observed']} observed ({differ} not as the library assumes), "
        f"{told['not tried']} not tried, {told['inconclusive']} inconclusive.",
        "",
    ]
    return [*lines, f"**Stopped early.** {data['stopped']}", ""] if data["stopped"] else lines


def _table(findings: list[dict[str, Any]]) -> list[str]:
    rows = ["| question | verdict | as the library assumes |", "|---|---|---|"]
    for each in findings:
        verdict = each["value"] if each["verdict"] == "observed" else f"*{each['verdict']}*"
        agrees = {True: "yes", False: f"**no**: {each['otherwise']}", None: ""}[each["agrees"]]
        rows.append(f"| {each['name']} | {_cell(verdict)} | {_cell(agrees)} |")
    return rows


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _section(each: dict[str, Any]) -> list[str]:
    verdict = each["value"] if each["verdict"] == "observed" else each["why"]
    lines = [f"## {each['name']}", "", each["question"], ""]
    lines += [f"- {each['verdict']}: {verdict}", f"- The library assumes: {each['assumes']}"]
    if each["how"]:
        lines.append(f"- How it was seen: {each['how']}")
    if each["credits"]:
        lines.append(f"- Credits: {each['credits']}")
    lines.append("")
    for exchange in each["exchanges"]:
        lines += _shown(exchange)
    return lines


def _shown(exchange: dict[str, Any]) -> list[str]:
    came = exchange["failure"] or exchange["status"]
    told = [f"POST {exchange['path']}", exchange["sent"][:_SHORT], f"-> {came}"]
    told += [f"{name}: {value}" for name, value in exchange["headers"].items()]
    told.append(exchange["came"][:_SHORT])
    shown = "\n".join(line for line in told if line)
    return [*("    " + line for line in shown.splitlines()), ""]
