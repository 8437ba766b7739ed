"""Saving files: over real TLS sockets, and what is refused before any is opened.

Loopback is not public, so the tests give downloads a network in which one address of this machine
is; all else is as it is for users.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from stewrd_integrations.api.downloads import (
    Network,
    addresses_of,
    asave_files,
    is_public,
    save_files,
)
from stewrd_integrations.errors import DownloadError
from stewrd_integrations.types import File

from .file_server import HOST, PRIVATE, PUBLIC, Server, certified

Save = Callable[..., list[Path]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def saved(*args: Any, **options: Any) -> list[Path]:
    return save_files(*args, **options)


def asaved(*args: Any, **options: Any) -> list[Path]:
    return asyncio.run(asave_files(*args, **options))


both = pytest.mark.parametrize("save", [saved, asaved])


# -- a server --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certified(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    running = Server(certificate)
    yield running
    running.stop()


@pytest.fixture
def network(certificate: Path) -> Network:
    """One in which this machine is public, by one of its addresses."""
    return Network(
        resolve=lambda host, port: [PUBLIC],
        allows=lambda address: address == PUBLIC,
        tls=lambda: ssl.create_default_context(cafile=certificate),
    )


# -- what is saved ---------------------------------------------------------------------


@both
def test_a_file_is_downloaded(server: Server, network: Network, tmp_path: Path, save: Save) -> None:
    (path,) = save([File("Report.PDF", url=server.url())], tmp_path / "new" / "er", network=network)
    assert path == tmp_path / "new" / "er" / "01-Report.pdf"
    assert path.read_bytes() == b"hello"
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    (request,) = server.heard
    head = request.lower()
    assert request.startswith("GET /a?sig=s3cret HTTP/1.1\r\n")
    assert f"host: {HOST}:{server.port}\r\n" in head and "accept-encoding: identity" in head
    assert "authorization" not in head and "cookie" not in head and "sk-stw" not in head


@both
def test_the_content_of_a_file_is_saved_as_it_is(tmp_path: Path, save: Save) -> None:
    texts = ["", "two\r\nlines\n", "ünïcödé 🦜"]
    paths = save([File("a.txt", text) for text in texts], tmp_path)
    assert [path.read_bytes().decode() for path in paths] == texts
    assert [path.name for path in paths] == ["01-a.txt", "02-a.txt", "03-a.txt"]
    assert save([File("x", "half a parrot: \ud83e")], tmp_path)[0].read_bytes().endswith(b"?")
    assert save([], tmp_path) == []


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("report.md", "01-report.md"),
        ("../../etc/passwd", "01-passwd"),
        ("/etc/cron.d/x", "01-x"),
        ("C:\\Windows\\x.dll", "01-x.dll"),
        ("..", "01-file"),
        (".bashrc", "01-bashrc"),
        ("", "01-file"),
        ("a\0b\nc.txt", "01-a-b-c.txt"),
        ("-rf.txt", "01-rf.txt"),
        ("con.txt", "01-con.txt"),
        ("naïve café.tar.gz", "01-na-ve-caf-tar.gz"),
        ("x.💥", "01-x"),
        ("漢字.csv", "01-file.csv"),
        ("x." + "y" * 50, "01-x-" + "y" * 50),
        ("z" * 500 + ".txt", "01-" + "z" * 60 + ".txt"),
        ("~/x; rm -rf $HOME", "01-x-rm--rf-HOME"),
    ],
)
def test_names_are_our_own(tmp_path: Path, name: str, own: str) -> None:
    (path,) = save_files([File(name, "x")], tmp_path)
    assert path.name == own and path.parent == tmp_path and path.read_text() == "x"


@both
def test_nothing_is_replaced_and_no_link_followed(tmp_path: Path, save: Save) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "01-a.txt").write_text("mine")
    (tmp_path / "01-a-2.txt").symlink_to(target)
    (path,) = save([File("a.txt", "new")], tmp_path)
    assert path.name == "01-a-3.txt" and path.read_text() == "new"
    assert (tmp_path / "01-a.txt").read_text() == "mine" and not target.exists()


@both
def test_a_folder_that_can_not_be_is_an_os_error(tmp_path: Path, save: Save) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        save([File("a", "x")], tmp_path / "file" / "deeper")


# -- who is spoken to ------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "100::1",
        "5f00::1",
        "",
        "files.example",
        "0x7f.1",
        "2130706433",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"],
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@both
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0x7f.1", "2130706433", "[::1]"])
def test_this_machine_is_not_public(server: Server, tmp_path: Path, save: Save, host: str) -> None:
    with pytest.raises(DownloadError, match=r"not a public server|can't be resolved") as caught:
        save([File("x.txt", url=server.url(host=host))], tmp_path)
    assert server.connections == 0 and names(tmp_path) == []
    assert caught.value.charged == "no" and not caught.value.sent


@both
def test_a_name_that_leads_home_is_refused(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [PUBLIC, PRIVATE]  # one of them is enough

    with pytest.raises(DownloadError, match=f"at {HOST}, which is not a public server"):
        save([File("x", url=server.url())], tmp_path, network=replace(network, resolve=resolve))
    assert server.connections == 0 and asked == [(HOST, server.port)]
    none = replace(network, resolve=lambda host, port: [])
    with pytest.raises(DownloadError, match="not a public server"):
        save([File("x", url=server.url())], tmp_path, network=none)


@both
def test_the_address_that_was_checked_is_the_one_that_is_spoken_to(
    certificate: Path, network: Network, tmp_path: Path, save: Save
) -> None:
    public, private = Server(certificate, PUBLIC), Server(certificate, PRIVATE)
    answers = iter([[PUBLIC], [PRIVATE], [PRIVATE]])
    rebinding = replace(network, resolve=lambda host, port: next(answers))
    (path,) = save([File("x", url=public.url())], tmp_path, network=rebinding)
    assert path.read_text() == "hello"
    assert (public.connections, private.connections) == (1, 0)
    assert len(list(answers)) == 2  # it was resolved once
    for server in (public, private):
        server.stop()


@both
def test_the_next_address_is_tried_where_one_is_down(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    two = Network(
        resolve=lambda host, port: [PRIVATE, PUBLIC],
        allows=lambda address: address in (PRIVATE, PUBLIC),
        tls=network.tls,
    )
    (path,) = save([File("x", url=server.url())], tmp_path, network=two)
    assert path.read_text() == "hello"


@both
def test_the_certificate_is_checked_for_the_name(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    with pytest.raises(DownloadError, match=r"other\.example \(ConnectError\)"):
        save([File("x", url=server.url(host="other.example"))], tmp_path, network=network)
    system = replace(network, tls=httpx.create_ssl_context)
    with pytest.raises(DownloadError, match="ConnectError"):
        save([File("x", url=server.url())], tmp_path, network=system)
    assert server.heard == [] and names(tmp_path) == []


@both
def test_each_file_has_a_connection_of_its_own(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    # One that was opened for a name must not serve another name at the same address.
    with pytest.raises(DownloadError, match=r"other\.example"):
        save(
            [
                File("x", url=server.url()),
                File("y", url=server.url(host="other.example")),
            ],
            tmp_path,
            network=network,
        )
    assert server.connections == 2 and names(tmp_path) == ["01-x"]


@both
def test_no_proxy_is_asked(
    server: Server,
    network: Network,
    tmp_path: Path,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (path,) = save([File("x", url=server.url())], tmp_path, network=network)
    assert path.read_text() == "hello"


@both
@pytest.mark.parametrize(
    "url",
    [
        "http://files.example/x",
        "ftp://files.example/x",
        "file:///etc/passwd",
        "//files.example/x",
        "/etc/passwd",
        "https:///x",
        "https://user:s3cret@files.example/x",
        "https://files.example\n/x",
        "https://[::1/x",
        "https://files.example:99999/x",
        "",
    ],
)
def test_addresses_that_are_not_plain_https(
    network: Network, tmp_path: Path, save: Save, url: str
) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("it was asked for")

    with pytest.raises(DownloadError, match=r"plain https|no URL|neither") as caught:
        save([File("x", url=url)], tmp_path, network=replace(network, resolve=resolve))
    assert "s3cret" not in str(caught.value) and names(tmp_path) == []


@both
def test_a_file_without_anything(tmp_path: Path, save: Save) -> None:
    with pytest.raises(DownloadError, match="'x' has neither content nor an address"):
        save([File("x")], tmp_path)


@both
def test_names_that_nobody_knows(network: Network, tmp_path: Path, save: Save) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror("unknown")

    with pytest.raises(DownloadError, match=f"{HOST}, which can't be resolved") as caught:
        save(
            [File("x", url=f"https://{HOST}/x")],
            tmp_path,
            network=replace(network, resolve=resolve),
        )
    assert caught.value.retryable


def test_the_systems_resolver() -> None:
    found = addresses_of("localhost", 443)
    assert found and all(ipaddress.ip_address(one).is_loopback for one in found)
    assert len(found) == len(set(found))


# -- what comes back -------------------------------------------------------------------


def answer(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\n\r\n".encode() + body


ANSWERS = {
    "a redirect": (
        answer("302 Found\r\nLocation: https://x.example/\r\nContent-Length: 0"),
        "not followed",
    ),
    "a refusal": (answer("403 Forbidden\r\nContent-Length: 2", b"no"), "HTTP 403"),
    "a part": (answer("206 Partial Content\r\nContent-Length: 2", b"no"), "HTTP 206"),
    "an announced size": (
        answer("200 OK\r\nContent-Length: 101"),
        "larger than max_bytes=100",
    ),
    "an unannounced size": (answer("200 OK", b"x" * 101), "larger than max_bytes=100"),
    "chunks": (
        answer("200 OK\r\nTransfer-Encoding: chunked", b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"),
        "larger than max_bytes=100",
    ),
    "a packed body": (
        answer("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2", b"\x1f\x8b"),
        "came compressed",
    ),
    "a short body": (answer("200 OK\r\nContent-Length: 50", b"x"), "RemoteProtocolError"),
    "a cut chunk": (
        answer("200 OK\r\nTransfer-Encoding: chunked", b"5\r\nhel"),
        "RemoteProtocolError",
    ),
    "nothing": (b"", "RemoteProtocolError"),
    "garbage": (b"\0\0\0\r\n\r\n", "RemoteProtocolError"),
}


@both
@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_that_are_not_the_file(
    server: Server, network: Network, tmp_path: Path, save: Save, kind: str
) -> None:
    server.answer, problem = ANSWERS[kind]
    with pytest.raises(DownloadError, match=problem) as caught:
        save(
            [File("a", "kept"), File("x", url=server.url())],
            tmp_path,
            max_bytes=100,
            network=network,
        )
    assert names(tmp_path) == ["01-a"]  # the half one is gone
    link: BaseException | None = caught.value
    while link is not None:
        assert "s3cret" not in str(link) + repr(vars(link))
        link = link.__cause__
    assert len(server.heard) == 1


@both
def test_a_file_of_just_the_size(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    server.answer = answer("200 OK", b"x" * 200_000)
    (path,) = save([File("x", url=server.url())], tmp_path, max_bytes=200_000, network=network)
    assert path.stat().st_size == 200_000


@both
def test_a_download_that_drips_is_given_up(
    server: Server, network: Network, tmp_path: Path, save: Save
) -> None:
    server.answer, server.drip = answer("200 OK\r\nContent-Length: 9000", b"x" * 9000), 0.005
    begun = time.monotonic()
    with pytest.raises(DownloadError, match="too long") as caught:
        save([File("x", url=server.url())], tmp_path, timeout=0.5, network=network)
    assert time.monotonic() - begun < 20 and caught.value.retryable  # 9,000 bytes are 45 seconds
    assert names(tmp_path) == []


async def test_a_head_that_drips_is_given_up(
    server: Server, network: Network, tmp_path: Path
) -> None:
    server.answer, server.drip = answer("200 OK\r\nX: " + "x" * 9000), 0.005
    with pytest.raises(DownloadError, match="too long"):
        await asave_files([File("x", url=server.url())], tmp_path, timeout=0.5, network=network)
    assert names(tmp_path) == []


async def test_a_cancelled_download_leaves_nothing(
    server: Server, network: Network, tmp_path: Path
) -> None:
    server.answer, server.drip = answer("200 OK\r\nContent-Length: 900", b"x" * 900), 0.01
    files = [File("x", url=server.url())]
    task = asyncio.create_task(asave_files(files, tmp_path, network=network))
    await asyncio.to_thread(server.asked.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []
