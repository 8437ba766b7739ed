"""Looking for a secret in whatever a program shows, keeps or passes on."""

from __future__ import annotations

import base64
import gc
import html
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

USUAL = "sk-stw_" + "0badc0de5ecre7" * 2
UNUSUAL = 'live+9f/Qx<7>&Zz~"T4\\m=='
"""Not of Stewrd's form, and full of what is written differently in JSON, HTML and addresses."""

TESTS = Path(__file__).parent.parent


def forms(secret: str) -> dict[str, str]:
    """A secret in the ways in which it may be written."""
    raw = secret.encode()
    return {
        "plain": secret,
        "lower": secret.lower(),
        "percent": quote(secret, safe=""),
        "percent twice": quote(quote(secret, safe=""), safe=""),
        "percent, some": quote(secret),
        "percent, all": "".join(f"%{byte:02x}" for byte in raw),
        "html": html.escape(secret),
        "html, all": "".join(f"&#{byte};" for byte in raw),
        "json": json.dumps(secret)[1:-1],
        "json, slashes": secret.replace("/", "\\/"),
        "json, all": "".join(f"\\u{byte:04x}" for byte in raw),
        "repr": repr(secret)[1:-1],
        "in two lines": f"{secret[:9]}\n{secret[9:]}",
        "base64": base64.b64encode(raw).decode(),
        "base64 of a header": base64.b64encode(b"Bearer " + raw).decode(),
        "base64 for addresses": base64.urlsafe_b64encode(b"ab" + raw + b":pw").decode(),
    }


def found(secret: str, text: str | bytes) -> list[str]:
    """The forms in which a secret stands in a text."""
    whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return [name for name, form in forms(secret).items() if _trace(name, form) in whole]


def _trace(name: str, form: str) -> str:
    """What of a form is the secret's alone: base64 mixes its ends with what stands beside it."""
    return form[12:-6] if name.startswith("base64") else form


def told_by(error: BaseException) -> Iterator[tuple[str, str]]:
    """Everything that an error and its chain may show, its traceback with locals included."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or any(link is each for each in seen):
            continue
        seen.append(link)
        waiting += [link.__cause__, link.__context__, *getattr(link, "exceptions", ())]
        name = type(link).__name__
        yield f"str of {name}", f"{link} {link!r} {link.args!r}"
        yield f"attributes of {name}", repr(vars(link))
        yield f"notes of {name}", repr(getattr(link, "__notes__", ()))
        yield "traceback", _traceback_of(link)
    yield "pickle", pickle.dumps(error).decode("latin-1")


def _traceback_of(error: BaseException) -> str:
    # Without the tests' own frames, which know the key.
    shown = traceback.format_exception_only(type(error), error)
    for frame in frames_of(error):
        shown.append(f"{frame.f_code.co_filename} {frame.f_code.co_name}")
        shown += [f"{name} = {_safe_repr(value)}" for name, value in frame.f_locals.items()]
    return "\n".join(shown)


def locals_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """The locals of its frames, and their attributes, as tools that collect errors show them."""
    for frame in frames_of(error):
        for name, value in frame.f_locals.items():
            yield f"{frame.f_code.co_name}: {name}", _deeply(value)


def frames_of(error: BaseException) -> list[FrameType]:
    """The frames of its traceback that are not the tests'."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [frame for frame in frames if str(TESTS) not in frame.f_code.co_filename]


def _deeply(value: object) -> str:
    shown = [_safe_repr(value)]
    if type(value).__module__.startswith("stewrd_integrations"):
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        attributes = [*getattr(value, "__dict__", {}), *slots]
        shown += [f"{name}={_safe_repr(getattr(value, name, None))}" for name in attributes]
    return " ".join(shown)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # an object that was refused before it was whole
        return ""


def reached_from(thing: object, depth: int = 6) -> Iterator[tuple[str, str]]:
    """The reprs of our objects, and of all their neighbours, that lie behind this one."""
    seen, layer = {id(thing)}, [thing]
    for _ in range(depth):
        following = []
        for each in layer:
            yield type(each).__qualname__, _safe_repr(each)
            if not _is_ours(each) and not isinstance(each, (dict, list, tuple)):
                continue
            for behind in gc.get_referents(each):
                if id(behind) not in seen and not isinstance(behind, (type, FrameType)):
                    seen.add(id(behind))
                    following.append(behind)
        # The key itself lies in a closure: a string that only the closure's cell shows.
        layer = [each for each in following if not isinstance(each, (str, bytes))]


def _is_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("stewrd_integrations")


class Listener(logging.Handler):
    """Keeps all that any logger says, at any level, with what the records hold."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.said: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        told = {name: value for name, value in vars(record).items() if name != "exc_info"}
        self.said.append((record.name, f"{record.getMessage()} {told!r}"))

    def numbered(self) -> Iterator[tuple[str, str]]:
        """All that was said, each under a name of its own."""
        for number, (name, text) in enumerate(self.said):
            yield f"{name} {number}", text

    def of(self, logger: str) -> str:
        """All that a logger and those under it have said."""
        return "\n".join(text for name, text in self.said if name.split(".")[0] == logger)


def assert_hidden(secret: str, places: Any) -> None:
    """No form of the secret is in any of the places, each a name and a text."""
    shown = {name: found(secret, text) for name, text in places}
    assert shown
    where = {name: which for name, which in shown.items() if which}
    assert not where, f"it is in {where}"
