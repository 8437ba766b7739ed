"""The key, the way to the API, the packages and the store."""

from __future__ import annotations

import importlib
import os
import re
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from stewrd_integrations.doctor import network, packages, stores
from stewrd_integrations.doctor.packages import Requirement, python_and_packages
from stewrd_integrations.emulator import Emulator
from stewrd_integrations.langchain import ChatStewrd
from tests import redis_server
from tests.redis_server import RedisServer, free_port

from .conftest import KEY, Run

NOBODY = "http://127.0.0.1:9"


# -- the key ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (None, "is not set -> Copy one"),
        ("", "is empty"),
        (" \t", "is empty"),
        (f'"{KEY}"', "quotation marks"),
        (f"'{KEY}", "quotation marks"),
        (f"\u201c{KEY}\u201d", "quotation marks"),
        (f"Bearer {KEY}", 'begins with "Bearer"'),
        (f"{KEY[:9]} {KEY[9:]}", "white space or a control character in the middle"),
        (f"{KEY[:9]}\n{KEY[9:]}", "white space or a control character in the middle"),
        (f"{KEY[:9]}\u2013{KEY[9:]}", "characters that no key has"),
        ("sk-stw_...", "is a placeholder"),
        ("sk-stw_xxxxxxxx", "is a placeholder"),
    ],
)
def test_a_key_that_can_t_work(run: Run, key: str | None, told: str) -> None:
    report = run(key=key, url=NOBODY)
    assert told in report["key"] and report.grade("key") == "problem"


def test_a_key_of_somebody_else(run: Run) -> None:
    report = run(key="sk-proj-0123456789abcdef", url=NOBODY)
    assert "does not begin with sk-stw_" in report["key"]
    assert "sk-proj" not in report.text


def test_white_space_around_a_key_does_no_harm(run: Run) -> None:
    with Emulator() as stewrd:
        report = run("--no-credit", key=f" {stewrd.api_key}\n", url=stewrd.url)
    assert report.code == 0 and "white space around it is left out" in report["key"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("STEWRD_KEY", "abc"), ("stewrd_token", KEY), ("MY_AGENT", KEY), ("STEWRD_API_KEYS", "x")],
)
def test_a_key_under_another_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    report = run(key=None, url=NOBODY)
    assert f"but there is {name} -> Name it STEWRD_API_KEY." in report["key"]


def test_a_key_in_a_file_that_nothing_reads(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"STEWRD_API_KEY={KEY}\n")
    assert "a file .env in this folder has it" in run(key=None, url=NOBODY)["key"]


# -- the way ---------------------------------------------------------------------------


def test_an_address_that_can_t_be_used(run: Run) -> None:
    report = run(url="http://stewrd.example")
    assert (
        "STEWRD_BASE_URL: base_url is http: the key would travel in the clear" in report["address"]
    )
    assert report.grade("API") is None
    report = run("--base-url", f"https://user:{KEY}@stewrd.example")
    assert "--base-url: base_url holds a user name or password" in report["address"]


def test_an_address_with_the_version_in_it(run: Run) -> None:
    report = run(url=f"{NOBODY}/v1")
    assert report.problems == ["address"]
    assert "STEWRD_BASE_URL: base_url ends with /v1, which the client adds" in report["address"]


def test_a_host_without_an_address(run: Run) -> None:
    report = run(url="https://stewrd.invalid")
    assert report.problems == ["connection"]
    assert "there is no address for stewrd.invalid" in report["connection"]
    assert report["API"].startswith("not asked: the API was not reached")


def test_nobody_listens(run: Run) -> None:
    port = free_port()
    report = run(url=f"http://localhost:{port}")
    assert report.problems == ["connection"]
    assert f"stewrd_integrations.emulator --port {port}" in report["connection"]


def test_a_host_that_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # the queue is full, and further connections are not answered
            waiting.append(one := socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        report = run(url=f"http://127.0.0.1:{port}")
        for one in waiting:
            one.close()
    assert report.problems == ["connection"] and "did not answer" in report["connection"]


def test_a_proxy_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("https_proxy", f"http://user:hidden@127.0.0.1:{port}")
    report = run(url="https://stewrd.invalid")
    assert report.problems == ["proxy"] and report.grade("connection") is None
    assert f"127.0.0.1:{port} is used for stewrd.invalid; " in report["proxy"]
    assert "correct it there, or unset it" in report["proxy"]
    assert "emulator" not in report["proxy"]
    assert "hidden" not in report.text
    monkeypatch.setenv("no_proxy", "stewrd.invalid")
    assert run(url="https://stewrd.invalid").problems == ["connection"]


@pytest.mark.parametrize("url", ["127.0.0.1:{}", "all://127.0.0.1:{}", "http://127.0.0.1:x{}"])
def test_proxies_in_other_forms(run: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("all_proxy", url.format(free_port()))
    report = run(url="https://stewrd.invalid")
    assert report.problems == ["proxy"] and "127.0.0.1:" in report["proxy"]


def test_a_proxy_of_a_kind_that_nobody_speaks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        monkeypatch.setenv("https_proxy", f"ftp://user:hidden@127.0.0.1:{there.getsockname()[1]}")
        report = run(url="https://stewrd.invalid")
    assert report.problems == ["proxy"] and "hidden" not in report.text
    assert any("Check HTTPS_PROXY" in one["advice"] for one in report.told["findings"])


def test_https_where_http_is_spoken(run: Run) -> None:
    with Emulator() as stewrd:
        report = run(key=stewrd.api_key, url=stewrd.url.replace("http:", "https:"))
    assert report.problems == ["TLS"] and "does not speak https" in report["TLS"]
    assert "begin the address with http://" in report["TLS"]


def test_no_proxy_stands_before_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NOBODY)
    with Emulator() as stewrd:
        report = run("--no-credit", key=stewrd.api_key, url=stewrd.url)
    assert report.code == 0 and report.grade("proxy") is None


# -- the packages ----------------------------------------------------------------------


def installed(folder: Path, name: str, version: str, *needs: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    (info / "METADATA").write_text("\n".join(lines + [f"Requires-Dist: {one}" for one in needs]))


NEEDS = (
    "httpx<1,>=0.27",
    'jsonschema>=4.20; extra == "langchain"',
    "langchain-core<2,>=1.7; extra == 'langchain'",
    "llama-index-core (<0.15,>=0.14.20); extra == 'llama-index'",
    "nothing-like-it>=1; extra == 'redis'",
    "nothing-like-it>=1; extra == 'all'",
    "stewrd-integrations[langchain,redis]; extra == 'all'",
)


def test_packages_that_fit_and_that_do_not(tmp_path: Path, monkeypatch: Any) -> None:
    for name, version in (("httpx", "0.28.1"), ("langchain-core", "1.6.9"), ("jsonschema", "4.26")):
        installed(tmp_path, name, version)
    installed(tmp_path, "llama-index-core", "0.14.21.post1")
    installed(tmp_path, "stewrd-integrations", "9.8.7", *NEEDS)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {one.name: one for one in python_and_packages()}
    assert found["package"].found == "stewrd-integrations 9.8.7"
    assert found["requirements"].found == "httpx 0.28.1"
    assert found["langchain"].grade == "problem"
    assert found["langchain"].found.startswith("langchain-core 1.6.9 does not fit: ")
    assert 'pip install --upgrade "stewrd-integrations[langchain]"' in found["langchain"].advice
    assert found["llama-index"].grade == "ok"
    assert (found["redis"].grade, found["redis"].found) == ("note", "not installed")
    assert "all" not in found


def test_what_comes_with_many_programs_is_no_extra(tmp_path: Path, monkeypatch: Any) -> None:
    installed(tmp_path, "stewrd-integrations", "1", *NEEDS)
    installed(tmp_path, "jsonschema", "4.26")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {one.name: one for one in python_and_packages()}
    assert (found["langchain"].grade, found["langchain"].found) == ("note", "not installed")


def test_a_requirement_that_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    installed(tmp_path, "stewrd-integrations", "1", *NEEDS)
    installed(tmp_path, "langchain-core", "1.7")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {one.name: one for one in python_and_packages()}
    assert (found["requirements"].grade, found["requirements"].found) == (
        "problem",
        "missing: httpx",
    )
    assert found["langchain"].found == "missing: jsonschema"


def test_a_checkout_that_is_not_installed(tmp_path: Path, monkeypatch: Any) -> None:
    installed(tmp_path, "httpx", "0.28.1")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(packages, "PROJECT", tmp_path / "pyproject.toml")
    found = {one.name: one for one in python_and_packages()}
    assert found["package"].grade == "note" and "httpx 0.28.1" in found["package"].found


@pytest.mark.parametrize("text", ["[project", "", '[project]\nname = "another"', "\xff"])
def test_a_folder_that_is_no_checkout(tmp_path: Path, monkeypatch: Any, text: str) -> None:
    monkeypatch.setattr(packages, "PROJECT", tmp_path / "pyproject.toml")
    packages.PROJECT.write_text(text, encoding="latin-1")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(packages, "OURS", "stewrd-somewhere")
    found = {one.name: one for one in python_and_packages()}
    assert found["package"].grade == "note"


def test_a_checkout_says_itself_what_it_needs(tmp_path: Path, monkeypatch: Any) -> None:
    installed(tmp_path, "httpx", "0.1")
    installed(tmp_path, "redis", "5.1")
    reads = sys.version_info >= (3, 11)
    if reads:
        importlib.import_module("tomllib")  # which is not found on the path below
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {one.name: one for one in python_and_packages()}
    root = packages.PROJECT.parent
    assert (found["package"].grade == "ok") == reads
    if not reads:
        return
    told = rf"stewrd-integrations \d+\.\d+\.\d+, from the checkout at {re.escape(str(root))}"
    assert re.fullmatch(told, found["package"].found)
    assert found["redis"].grade == "ok"
    assert found["requirements"].grade == "problem" and "httpx 0.1" in found["requirements"].found
    assert f'pip install -U "{root}"' in found["requirements"].advice
    assert f'pip install --upgrade "{root}[langchain]"' in found["langchain"].advice
    assert "all" not in found


def test_an_old_python(monkeypatch: Any) -> None:
    monkeypatch.setattr(packages, "OLDEST", (99, 0))
    assert next(python_and_packages()).grade == "problem"


@pytest.mark.parametrize(
    ("needed", "yes", "no"),
    [
        (">=1.7,<2", ("1.7", "1.7.0", "1.99.3"), ("1.6.9", "2", "2.0.1")),
        ("==1.5", ("1.5", "1.5.0"), ("1.5.1",)),
        ("!=1.5", ("1.5.1",), ("1.5.0",)),
        (">1,<=2.0", ("1.0.1", "2"), ("1.0", "2.0.1")),
        ("~=1.4.2", ("1.4.2", "1.4.9"), ("1.5", "1.4.1")),
        ("", ("0",), ()),
    ],
)
def test_ranges(needed: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    requirement = Requirement.read(f"a-b_c.d{needed}")
    assert requirement is not None
    assert [requirement.fits(one) for one in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


# -- the store -------------------------------------------------------------------------


def test_no_store_is_named(run: Run) -> None:
    report = run(url=NOBODY)
    assert report.grade("store") == "ok" and report["store"].startswith("memory: ")


def test_a_store_that_nobody_knows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEWRD_STORE", "mysql://me:hidden@host/db")
    report = run(url=NOBODY)
    assert "store" in report.problems and "unknown scheme" in report["store"]
    assert "hidden" not in report.text


def test_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "stewrd.db"
    report = run("--store", f"sqlite:///{path}", url=NOBODY)
    assert report.grade("store") == "ok" and "the first turn makes it" in report["store"]
    assert not path.exists(), "looking makes no file"
    with Emulator() as stewrd:
        address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
        ChatStewrd(**address, store=f"sqlite:///{path}", conversation_id="a").invoke("Hello")
        was = path.read_bytes()
        report = run(
            "--no-credit", "--store", f"sqlite:///{path}", key=stewrd.api_key, url=stewrd.url
        )
    assert "1 bindings, 1 of the project's slots in use" in report["store"]
    assert path.read_bytes() == was, "looking changes nothing"


def test_a_file_that_is_no_store(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (a)")
    other.close()
    report = run("--store", f"sqlite:///{path}", url=NOBODY)
    assert "store" in report.problems


def test_a_file_that_can_t_be_made(run: Run, tmp_path: Path) -> None:
    report = run("--store", f"sqlite:///{tmp_path}/no/such/folder.db", url=NOBODY)
    assert "store" in report.problems and "can't be made" in report["store"]


def test_a_file_that_can_t_be_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stewrd.db"
    with Emulator() as stewrd:
        address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
        ChatStewrd(**address, store=f"sqlite:///{path}", conversation_id="a").invoke("Hello")
    # Root, as whom tests may run, may write everything.
    monkeypatch.setattr(os, "access", lambda name, way: way != os.W_OK)
    report = run("--store", f"sqlite:///{path}", url=NOBODY)
    assert "can't be written to" in report["store"]


def test_a_redis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    redis_server.require()
    with RedisServer() as server, Emulator() as stewrd:
        url = f"{server.url}?namespace=shop&socket_timeout=5"
        address: Any = {"api_key": stewrd.api_key, "base_url": stewrd.url}
        with ChatStewrd(**address, store=url, conversation_id="a") as model:
            model.invoke("Hello")
        given = ("--no-credit", "--store", url)
        report = run(*given, key=stewrd.api_key, url=stewrd.url)
        assert report.code == 0 and report["store"].startswith("Redis ")
        assert "; 1 of the project's slots in use" in report["store"]
        monkeypatch.setattr(stores, "SLOW", 0.0)
        assert run(*given, key=stewrd.api_key, url=stewrd.url).grade("store") == "note"
        monkeypatch.setattr(stores, "OLDEST_REDIS", (99,))
        assert run(*given, key=stewrd.api_key, url=stewrd.url).problems == ["store"]


def test_a_redis_that_is_not_there(run: Run) -> None:
    report = run("--store", f"redis://:hidden@127.0.0.1:{free_port()}/0", url=NOBODY)
    assert "Redis can't be reached" in report["store"] and "hidden" not in report.text
