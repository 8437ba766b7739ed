"""Cassettes: recorded HTTP exchanges that tests play instead of a server, by vcrpy.

Each says in its `source` where it comes from: "vendor page" (written by hand after the
documentation), "emulator" or "live" (recorded, with the day in `recorded`). A played one
answers each of its requests once, and to nothing else; a request is known by its method, its
path, its media type and its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import vcr  # type: ignore[import-untyped]  # it has no types
import yaml  # type: ignore[import-untyped]  # its types are a package that nothing else needs

from .scrubbing import scrub, without_nonce

FOLDER = Path(__file__).parents[2] / "cassettes"
KEY = "sk-stw_" + "cassette"  # no key: nothing here may look like one
ADDRESS = "https://api.stewrd.dev"
Source: TypeAlias = Literal["vendor page", "emulator", "live"]
SOURCES: tuple[Source, ...] = get_args(Source)
HEADERS = {"content-type", "accept", "retry-after"}
"""The only ones that a cassette holds."""


def paths(*folders: str) -> list[Path]:
    """The cassettes in these folders, or in all."""
    found = [path for name in folders or ("*",) for path in FOLDER.glob(f"{name}/*.yaml")]
    return sorted(found)


def name_of(path: Path) -> str:
    """A cassette's folder and name."""
    return f"{path.parent.name}/{path.stem}"


# -- what a cassette holds -------------------------------------------------------------


@dataclass(frozen=True)
class Interaction:
    """One request and its answer; bodies are text."""

    method: str
    path: str
    request: str
    status: int
    media_type: str
    response: str

    @property
    def asked(self) -> Any:
        """The request's JSON; None without a body."""
        return json.loads(self.request) if self.request else None

    @property
    def answered(self) -> Any:
        """The answer's JSON."""
        return json.loads(self.response)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The answer's server-sent events."""
        return events(self.response)


def events(stream: str) -> list[tuple[str, Any]]:
    """The (name, data) of an event stream, read line by line."""
    told = []
    for block in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        fields = dict(line.split(": ", 1) for line in lines)
        if fields:
            told.append((fields["event"], json.loads(fields["data"])))
    return told


def header(path: Path) -> dict[str, Any]:
    """What a cassette says of itself: all but its interactions."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: value for key, value in document.items() if key != "interactions"}


def interactions(path: Path) -> list[Interaction]:
    """The exchanges of a cassette, in order."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [_interaction(each["request"], each["response"]) for each in document["interactions"]]


def _interaction(request: Any, response: Any) -> Interaction:
    path = "/" + request["uri"].split("/", 3)[3]
    media_type = media_type_of(response["headers"].get("content-type", [""])[0])
    body = response["body"]["string"]
    code = response["status"]["code"]
    return Interaction(request["method"], path, request["body"], code, media_type, body)


def media_type_of(value: str) -> str:
    """A Content-Type without its parameters."""
    return value.partition(";")[0].strip().lower()


# -- playing ---------------------------------------------------------------------------


@contextmanager
def play(path: Path) -> Iterator[Any]:
    """Answer every request of this block from a cassette, all of which must be asked for.

    A request that it does not hold, or whose answer was given, is refused by vcrpy.
    """
    once = {"record_mode": vcr.mode.NONE, "allow_playback_repeats": False}
    with _vcr().use_cassette(path, **once) as cassette:
        yield cassette
    left = [
        f"{request.method} {request.path}"
        for place, request in enumerate(cassette.requests)
        if not cassette.play_counts[place]
    ]
    assert not left, f"{name_of(path)} was not played to its end: {left}"
    assert cassette.all_played


def _vcr() -> Any:
    recorder = vcr.VCR(
        match_on=["method", "path", "media_type", "json"],
        decode_compressed_response=True,
        before_record_request=_allow_listed,
        before_record_response=_allow_listed_response,
    )
    recorder.register_matcher("json", _same_json)
    recorder.register_matcher("media_type", _same_media_type)
    return recorder


def _same_json(one: Any, other: Any) -> None:
    assert _json(one.body) == _json(other.body)


def _json(body: bytes | None) -> Any:
    return json.loads(without_nonce(body.decode())) if body else None


def _same_media_type(one: Any, other: Any) -> None:
    types = [media_type_of(each.headers.get("content-type", "")) for each in (one, other)]
    assert types[0] == types[1]


def _allow_listed(request: Any) -> Any:
    request.headers = {
        name.lower(): value for name, value in request.headers.items() if name.lower() in HEADERS
    }
    return request


def _allow_listed_response(response: Any) -> Any:
    kept = {name.lower(): values for name, values in response["headers"].items()}
    response["headers"] = {name: kept[name] for name in sorted(kept) if name in HEADERS}
    return response


# -- recording -------------------------------------------------------------------------


class _Memory:
    """Where vcrpy puts a recording; we write it, as vcrpy would drop where it comes from."""

    def __init__(self) -> None:
        self.taken: dict[str, Any] = {}

    def load_cassette(self, path: Any, serializer: Any) -> Any:
        """Nothing is there before a recording."""
        raise vcr.persisters.filesystem.CassetteNotFoundError

    def save_cassette(self, path: Any, cassette: dict[str, Any], serializer: Any) -> None:
        """Keep it."""
        self.taken = cassette


@contextmanager
def record() -> Iterator[list[dict[str, Any]]]:
    """Record every exchange of this block into the list, which is filled at its end."""
    recorder, memory = _vcr(), _Memory()
    recorder.register_persister(memory)
    told: list[dict[str, Any]] = []
    with recorder.use_cassette("none", record_mode=vcr.mode.ALL):
        yield told
    pairs = zip(memory.taken["requests"], memory.taken["responses"], strict=True)
    told += [_written(request, response) for request, response in pairs]


def _written(request: Any, response: Any) -> dict[str, Any]:
    asked = {
        "method": request.method,
        "uri": request.uri,
        "headers": {name: [value] for name, value in sorted(request.headers.items())},
        "body": (request.body or b"").decode(),
    }
    body = {"string": response["body"]["string"].decode()}
    answered = {"status": response["status"], "headers": response["headers"], "body": body}
    return {"request": asked, "response": answered}


def write(path: Path, source: Source, day: str, note: str, told: list[dict[str, Any]]) -> bool:
    """Write a recording without keys, ids and times; false if nothing but the day is new."""
    document = {"source": source, "recorded": day, "note": note, "interactions": scrub(told)}
    if path.exists() and _without_day(yaml.safe_load(path.read_text("utf-8"))) == _without_day(
        document
    ):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(document), encoding="utf-8")
    return True


def _without_day(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "recorded"}


def dump(document: dict[str, Any]) -> str:
    """A cassette as YAML, its streams line by line."""
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # untyped, as above
    pass


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
