"""What an installed wheel must do with one extra, or with none: `smoke_checks.py [EXTRA]`."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from importlib.metadata import distribution

ROOMS = {"langchain": "langchain", "llama-index": "llama_index", "emulator": "emulator"}
KEY = "sk-stw_smoke"


def nowhere() -> str:
    """The address of a loopback port where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def raised_by(call: Callable[[], object]) -> Exception | None:
    """What the call raises, if it does."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller judges it
        return error
    return None


def raises_never_sent(call: Callable[[], object]) -> None:
    """The call fails as one that reached no server."""
    from stewrd_integrations.errors import NeverSentError

    error = raised_by(call)
    assert isinstance(error, NeverSentError), repr(error)
    assert not error.sent
    assert KEY not in f"{error!r} {error}"


def check_plain() -> None:
    """What works with httpx and pydantic alone."""
    from stewrd_integrations import AsyncStewrdClient, StewrdClient, StewrdError, open_store

    assert issubclass(StewrdError, Exception)
    assert open_store("memory://") is open_store("memory://")
    assert AsyncStewrdClient(api_key=KEY) is not None
    with StewrdClient(api_key=KEY, base_url=nowhere(), max_retries=0) as client:
        raises_never_sent(lambda: client.run_agent("hello"))


def check_missing(extra: str) -> None:
    """A room whose extra is not installed says what to install."""
    error = raised_by(lambda: importlib.import_module(f"stewrd_integrations.{ROOMS[extra]}"))
    assert isinstance(error, ImportError), repr(error)
    assert f"stewrd-integrations[{extra}]" in str(error), f"Not helpful: {error!r}"


def check_langchain() -> None:
    """The chat model constructs, and fails in the package's own words."""
    from stewrd_integrations.langchain import ChatStewrd

    model = ChatStewrd(api_key=KEY, base_url=nowhere(), max_retries=0)
    raises_never_sent(lambda: model.invoke("hello"))


def check_llama_index() -> None:
    """The LLM constructs, and fails in the package's own words."""
    from llama_index.core.llms import ChatMessage

    from stewrd_integrations.llama_index import StewrdLLM

    llm = StewrdLLM(api_key=KEY, base_url=nowhere(), max_retries=0)
    raises_never_sent(lambda: llm.chat([ChatMessage(role="user", content="hello")]))


def check_stores(extra: str) -> None:
    """SQLite needs nothing; what needs an extra says so where it is missing."""
    from stewrd_integrations import open_store
    from stewrd_integrations.errors import ConfigurationError

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/smoke.db")
        store.append("ada", ["line"])
        assert store.load("ada") == ["line"]
        store.close()
        needs: dict[str, Callable[[], object]] = {
            "redis": lambda: open_store("redis://127.0.0.1:1/0").load("ada"),
            "encryption": lambda: open_store(f"sqlite:///{folder}/a.db", encryption_key="k" * 44),
        }
        for name, call in needs.items():
            if name != extra:
                error = raised_by(call)
                assert isinstance(error, ConfigurationError), repr(error)
                assert f"stewrd-integrations[{name}]" in str(error), f"Not helpful: {error!r}"


def check_redis() -> None:
    """The store opens, and fails in the package's own words."""
    from stewrd_integrations import open_store
    from stewrd_integrations.errors import StoreError

    error = raised_by(lambda: open_store("redis://127.0.0.1:1/0").load("ada"))
    assert isinstance(error, StoreError), repr(error)


def check_encryption() -> None:
    """A transcript is sealed, and read again."""
    from cryptography.fernet import Fernet

    from stewrd_integrations import open_store

    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/a.db", encryption_key=Fernet.generate_key())
        store.append("ada", ["line"])
        assert store.load("ada") == ["line"]
        store.close()


def check_emulator() -> None:
    """The emulator starts, and answers."""
    from stewrd_integrations import StewrdClient
    from stewrd_integrations.emulator import Emulator

    with Emulator() as stewrd:
        request = urllib.request.Request(  # noqa: S310  # a loopback address
            f"{stewrd.url}/v1/agent",
            data=json.dumps({"message": "hello"}).encode(),
            headers={
                "Authorization": f"Bearer {stewrd.api_key}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # the same
            assert answer.status == 200
        with StewrdClient(api_key=stewrd.api_key, base_url=stewrd.url) as client:
            assert client.run_agent("hello").message


CHECKS = {
    "langchain": check_langchain,
    "llama-index": check_llama_index,
    "redis": check_redis,
    "encryption": check_encryption,
    "emulator": check_emulator,
}


def main(extra: str) -> None:
    """Check one environment."""
    here = distribution("stewrd-integrations").locate_file("stewrd_integrations")
    import stewrd_integrations

    assert stewrd_integrations.__file__ == f"{here}/__init__.py", "not the installed wheel"
    check_plain()
    check_stores(extra)
    for other in ROOMS:
        if other != extra:
            check_missing(other)
    if extra:
        CHECKS[extra]()


if __name__ == "__main__":
    main(sys.argv[1])
