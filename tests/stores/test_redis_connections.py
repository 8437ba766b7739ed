"""The Redis store's connections: addresses, settings, and every failure."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stewrd_integrations.errors import ConfigurationError, StoreError
from stewrd_integrations.stores import redis_connections
from stewrd_integrations.stores.redis import RedisStore
from tests.redis_server import RedisServer, free_port, require

from .redis_stores import COLOURS, LONG, PATIENCE, binding, coloured, count, fill, others, works

require()

colours = pytest.mark.parametrize("colour", COLOURS)


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer, raw: Any) -> RedisServer:
    raw.flushall()
    return shared


@pytest.fixture
def raw(shared: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(shared.url) as client:
        yield client
        client.connection_pool.disconnect()  # early redis-py leaves it open


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops keep their connections from the first call on."""
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", 0)


# -- addresses and settings -----------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sk-secret",
        "http://sk-secret@localhost",
        "redis://:sk-secret@localhost:port/0",
        "redis://:sk-secret@localhost:6379/zero",
        "redis://:sk-secret@localhost:6379/0#1",
        "redis://:12/sk-secret@localhost:6379/0",
        "redis://:12?sk-secret@localhost:6379/0",
        "redis://:sk-secret@localhost?socket_timeout=secret",
        "redis://:sk?secret=secret@localhost",
        "redis://[sk-secret",
        "rediss://:sk-secret@localhost?ssl_cert_reqs=secret",
        "unix://",
    ],
)
def test_a_malformed_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL is malformed") as caught:
        RedisStore(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        RedisStore("redis://localhost", timeout=timeout)


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"stewrd-integrations\[redis\]"):
        RedisStore("redis://localhost")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:sk-secret@example.com:1/2?client_name=sk-secret", "'example.com:1', db=2"),
        ("rediss://:sk-secret@example.com", "'example.com:6379', db=0"),
        ("redis://", "'localhost:6379', db=0"),
        ("unix:///run/redis.sock?db=3&password=sk-secret", "'/run/redis.sock', db=3"),
    ],
)
def test_it_tells_where_it_is_and_no_password(url: str, shown: str) -> None:
    assert repr(RedisStore(url, namespace="a")) == f"RedisStore({shown}, namespace='a')"


def test_a_pickled_store_has_its_settings_but_never_a_key() -> None:
    url = "redis://localhost:1/2?socket_timeout=3"
    store = RedisStore(url, namespace="a", transcript_ttl=5, timeout=0.5)
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - of our own making
    assert repr(again) == repr(store)
    assert again.__reduce__() == store.__reduce__()
    with pytest.raises(ConfigurationError, match="can't be pickled"):
        pickle.dumps(RedisStore(url, encryption_key=Fernet.generate_key()))
    for secret in ("redis://:sk-secret@localhost", "redis://localhost?password=sk-secret"):
        with pytest.raises(ConfigurationError, match="can't be pickled") as caught:
            pickle.dumps(RedisStore(secret))
        assert "sk-secret" not in str(caught.value)
    assert copy.copy(store) is copy.deepcopy(store) is store


@colours
def test_a_unix_socket_will_do(colour: str) -> None:
    with RedisServer(unix=True) as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        works(coloured(store, colour))
        store.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    own = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, *own))
    return file


@colours
@pytest.mark.parametrize("single", [0, 64])
def test_tls_is_spoken_and_ended_in_order(
    certificate: Path, colour: str, single: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", single)
    port, path = free_port(), str(certificate)
    files = ("--tls-cert-file", path, "--tls-key-file", path, "--tls-ca-cert-file", path)
    server = RedisServer("--tls-port", f"{port}", *files, "--tls-auth-clients", "no")
    try:
        server.start()
    except RuntimeError:
        server.close()
        pytest.skip("redis-server is built without TLS")
    with contextlib.closing(server):
        store = RedisStore(f"rediss://localhost:{port}?ssl_ca_certs={path}", timeout=PATIENCE)
        for number in range(1, 4):
            assert coloured(store, colour).note("n", count) == {"n": number}
        gc.collect()  # what was not closed in order would warn
        with pytest.raises(StoreError, match="can't be reached"):
            coloured(RedisStore(f"rediss://localhost:{port}", timeout=PATIENCE), colour).note("n")
        store.close()


@colours
def test_the_urls_query_is_redis_pys(server: RedisServer, raw: Any, colour: str) -> None:
    query = "?db=3&client_name=named&protocol=3&decode_responses=true&encoding=utf-16"
    store = RedisStore(server.url + query, timeout=PATIENCE)
    works(coloured(store, colour))
    store.append("c", ["ü"])
    store.note("n")
    assert {line["name"] for line in others(raw)} == {"named"}
    assert raw.info("keyspace")["db3"]["keys"] > 40
    store.close()


# -- failures ------------------------------------------------------------------------------


@colours
@pytest.mark.usefixtures("pooled")
def test_it_works_by_itself_once_the_server_is_there(colour: str) -> None:
    store = RedisStore(f"redis://:sk-secret@127.0.0.1:{free_port()}", timeout=PATIENCE)
    with pytest.raises(StoreError, match="can't be reached") as caught:
        coloured(store, colour).take(("k",))
    assert "127.0.0.1" not in str(caught.value) and caught.value.__cause__ is None
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        calls = coloured(store, colour)
        works(calls)
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(StoreError, match="can't be reached"):
                calls.note("n")
            server.start()
            works(calls)
        store.close()


@colours
def test_a_password_is_asked_for_and_never_told(colour: str) -> None:
    with RedisServer("--requirepass", "sk-right") as server:
        for address in ("redis://", "redis://:sk-wrong@", "redis://sk-wrong:sk-right@"):
            store = RedisStore(server.url.replace("redis://", address), timeout=PATIENCE)
            with pytest.raises(StoreError, match="user or the password") as caught:
                coloured(store, colour).take(("k",))
            assert "sk-" not in f"{caught.value!r} {caught.value} {store!r}"
        store = RedisStore(server.url.replace("redis://", "redis://:sk-right@"), timeout=PATIENCE)
        works(coloured(store, colour))
        store.close()


@colours
def test_a_server_without_memory_gives_up_what_it_has(colour: str) -> None:
    with RedisServer("--maxmemory-policy", "noeviction") as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        calls = coloured(store, colour)
        fill(calls)
        with redis.Redis.from_url(server.url) as raw:
            raw.config_set("maxmemory", "1")
            with pytest.raises(StoreError, match="no memory"):
                calls.put(binding("1", "k2"), LONG)
            with pytest.raises(StoreError, match="no memory"):
                calls.append("conversation", ["other"], replace=True)
            with pytest.raises(StoreError, match="no memory"):
                calls.note("n", count)
            assert calls.load("conversation") == ["line"], "a replacement in vain loses nothing"
            assert calls.peek(("k2",)) == []
            assert calls.take(("k",)) == binding("1", "k"), "nor does a put in vain"
            calls.vacate("pool", "slot")
            calls.clear("conversation")
            raw.config_set("maxmemory", "0")
        works(calls)
        store.close()


def test_a_user_without_scripts_is_told_so(server: RedisServer, raw: Any) -> None:
    raw.execute_command("ACL", "SETUSER", "reader", "on", ">sesame", "~*", "+@read")
    store = RedisStore(server.url.replace("redis://", "redis://reader:sesame@"), timeout=PATIENCE)
    with pytest.raises(StoreError, match="permit"):
        store.take(("k",))
    store.close()


def test_a_server_that_loads_its_data_is_a_failure_that_passes() -> None:
    with RedisServer("--key-load-delay", "1000", "--rdbcompression", "no") as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        text = "x" * 20_000  # it looks up from its work every 2 MB
        for number in range(1_000):
            store.note(f"n{number}", lambda _: {"a": text})
        with redis.Redis.from_url(server.url) as raw:
            raw.save()
        server.kill()
        starting = threading.Thread(target=server.start)
        starting.start()
        told: set[str] = set()
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                store.note("n1")
                break
            except StoreError as error:
                told.add(error.message)
        starting.join()
        assert "Redis is still loading its data." in told
        assert store.note("n999") == {"a": text}
        store.close()


class Stranger:
    """Hears scripts and gives one answer to each, or hangs up; counts what it has heard."""

    def __init__(self, answer: bytes = b"") -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            line, _ = self._socket.accept()
            with line:
                while b"EVALSHA" not in (heard := line.recv(65_536)):
                    if not heard:
                        return
                    line.sendall(b"+OK\r\n" * heard.count(b"SETINFO"))
                self.heard.append(heard)
                line.sendall(self._answer)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join()
        self._socket.close()


@colours
@pytest.mark.parametrize("single", [0, 64])
def test_no_command_is_ever_repeated(
    colour: str, single: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", single)
    with Stranger() as server:
        url = f"{server.url}?retry_on_timeout=true&retry_on_error=ConnectionError"
        calls = coloured(RedisStore(url, timeout=PATIENCE), colour)
        for number in range(1, 4):
            with pytest.raises(StoreError, match="can't be reached"):
                calls.take(("k",))
            assert len(server.heard) == number


@colours
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"*1\r\n$3\r\nera\r\n", "does not tell its run_id and its master_replid"),
        (b"-ERR unknown command sk-secret\r\n", "Redis refused a command (ResponseError)."),
        (b"-MOVED 1 sk-secret:1\r\n", "Redis is a cluster and sends us away."),
        (b"-MISCONF sk-secret\r\n", "Redis can't save to its disk and takes no changes."),
        (b"sk-secret\r\n", "Redis refused a command (InvalidResponse)."),
    ],
)
def test_an_odd_answer_is_a_failure_that_tells_no_secret(
    colour: str, answer: bytes, told: str
) -> None:
    with Stranger(answer) as server:
        store = RedisStore(server.url, timeout=PATIENCE)
        with pytest.raises(StoreError) as caught:
            coloured(store, colour).take(("k",))
        assert told in str(caught.value) and "secret" not in str(caught.value)
        store.close()


async def in_time(ask: Callable[[str], Any], key: str) -> Any:
    """What is answered, by either colour; a busy machine may need several attempts."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            answer = ask(key)
            return await answer if asyncio.iscoroutine(answer) else answer
        except StoreError as error:
            if "in time" not in str(error) or time.monotonic() > until:
                raise


@colours
@pytest.mark.parametrize("single", [0, 64])
def test_a_late_answer_is_nobodys(
    server: RedisServer, colour: str, single: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connections, "SINGLE_CALLS", single)
    store = RedisStore(server.url, timeout=0.2)
    patient = RedisStore(server.url, timeout=PATIENCE)
    patient.note("late", lambda _: {"late": True})
    patient.put(binding("late", "late"), LONG)

    async def talk() -> None:
        await in_time(store.anote, "n")
        server.pause()
        try:
            began = time.monotonic()
            for call in (store.anote("late"), store.atake(("late",))):
                with pytest.raises(StoreError, match="in time"):
                    await call
            assert time.monotonic() - began < PATIENCE / 2
        finally:
            server.resume()
        for number in range(30):
            assert await in_time(store.anote, f"n{number}") == {}

    if colour == "async":
        asyncio.run(talk())
    else:
        asyncio.run(in_time(store.note, "n"))
        server.pause()
        try:
            for ask in (store.note, store.load):
                with pytest.raises(StoreError, match="in time"):
                    ask("late")
            with pytest.raises(StoreError, match="in time"):
                store.take(("late",))
        finally:
            server.resume()
        for number in range(30):
            assert asyncio.run(in_time(store.note, f"n{number}")) == {}
    works(coloured(patient, colour))
    store.close()
    patient.close()


def test_the_urls_time_outs_win(server: RedisServer) -> None:
    store = RedisStore(f"{server.url}?socket_timeout=0.2&socket_connect_timeout=0.2", timeout=60)
    server.pause()
    try:
        began = time.monotonic()
        with pytest.raises(StoreError, match="in time"):
            store.note("n")
        assert time.monotonic() - began < 30
    finally:
        server.resume()
    store.close()
