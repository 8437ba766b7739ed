"""Saving the files of an answer, also those that are a URL only.

A URL of a file is text from outside, and whoever can make an agent write one must not make this
machine fetch it from its own network. So downloads are done when they are asked for, and by a
client of their own that has no key, no cookies and no proxy; over https, to public addresses
only, of which the one that was checked is the one that is spoken to; without redirects, up to a
size. What is written has a name of our own making and never replaces anything.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from ..errors import DownloadError
from ..types import File
from .settings import user_agent
from .waiting import within

LARGEST = 64 * 2**20
"""Bytes that a file may have, unless the caller says otherwise."""

PATIENCE = 60.0
"""Seconds that a download may take, likewise."""

TIMEOUT = httpx.Timeout(connect=5.0, read=30.0, write=5.0, pool=5.0)

_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")

_FAILED = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, where anybody may be asked."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    if ip in _NAT64:
        return is_public(str(ipaddress.IPv4Address(ip.packed[-4:])))
    return ip in _GLOBAL_V6 and ip.is_global and ip.sixtofour is None


def addresses_of(host: str, port: int) -> list[str]:
    """The IP addresses of a host, as the system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Network:
    """What downloads reach the world by; another one is for tests, which have no public server.

    Attributes:
        resolve: Gives the addresses of a host and port; raises OSError if there are none.
        allows: Whether an address may be spoken to.
        tls: Makes the context that certificates are checked with.
    """

    resolve: Callable[[str, int], Sequence[str]] = addresses_of
    allows: Callable[[str], bool] = is_public
    tls: Callable[[], ssl.SSLContext] = httpx.create_ssl_context


INTERNET = Network()


def save_files(
    files: Iterable[File],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int = LARGEST,
    timeout: float = PATIENCE,
    network: Network = INTERNET,
) -> list[Path]:
    """Save files in a folder, downloading those that have no content (contract, *AgentResponse*).

    Each gets a name of its number, the plain letters and digits of its own name, and its
    extension. What is in the folder stays as it is.

    Args:
        files: The files of an answer.
        folder: Where to; it is made if it is not there.
        max_bytes: Bytes that a download may have.
        timeout: Seconds that a download may take; looked at whenever a part of it arrives.
        network: For tests.

    Returns:
        Where they are, in their order.

    Raises:
        DownloadError: One can't be downloaded; those before it are saved.
        OSError: The folder can't be written to.
    """
    paths = []
    for number, file in enumerate(files, 1):
        with _NewFile(Path(folder), number, file.name) as new:
            if file.content is not None:
                new.write(_encoded(file.content))
            else:
                _fetch(_Download(file, max_bytes, timeout, network), new)
        paths.append(new.path)
    return paths


async def asave_files(
    files: Iterable[File],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int = LARGEST,
    timeout: float = PATIENCE,
    network: Network = INTERNET,
) -> list[Path]:
    """`save_files` for the event loop."""
    paths = []
    for number, file in enumerate(files, 1):
        with await asyncio.to_thread(_NewFile, Path(folder), number, file.name) as new:
            if file.content is not None:
                await asyncio.to_thread(new.write, _encoded(file.content))
            else:
                await _in_time(_Download(file, max_bytes, timeout, network), new)
        paths.append(new.path)
    return paths


class _Download:
    """What is asked for one file, and what is checked on the way."""

    def __init__(self, file: File, max_bytes: int, timeout: float, network: Network) -> None:
        self._name = repr(file.name[:80])
        self._max_bytes = max_bytes
        self._received = 0
        self.deadline = time.monotonic() + timeout
        self.network = network
        with self.told():
            self._url = httpx.URL(file.url or "")
        self.host = self._url.raw_host.decode("ascii")
        self.port = self._url.port or 443
        if file.url is None:
            raise self.error("has neither content nor an address")
        plain = self._url.scheme == "https" and not self._url.userinfo
        if not plain or not self.host or not 0 < self.port < 65_536:
            raise self.error("has an address that is not plain https")

    def error(self, problem: str, *, retryable: bool = False) -> DownloadError:
        """The error; the address stays out of it, since whoever has it has the file."""
        return DownloadError(f"The file {self._name} {problem}.", retryable=retryable)

    @contextmanager
    def told(self) -> Generator[None, None, None]:
        """Raise what httpx raises as our error, without the request that it holds."""
        problem = None
        try:
            yield
        except httpx.InvalidURL:
            problem = self.error("has an address that is no URL")
        except _FAILED as error:
            name = type(error).__name__
            problem = self.error(f"can't be downloaded from {self.host} ({name})", retryable=True)
        if problem is not None:
            raise problem

    def checked(self, addresses: Sequence[str]) -> Sequence[str]:
        """The host's addresses, all of which must be allowed."""
        if not addresses or not all(map(self.network.allows, addresses)):
            raise self.error(f"is at {self.host}, which is not a public server")
        return addresses

    def resolved(self) -> Sequence[str]:
        """The host's addresses."""
        try:
            return self.network.resolve(self.host, self.port)
        except (OSError, UnicodeError):
            problem = self.error(f"is at {self.host}, which can't be resolved", retryable=True)
        raise problem

    def options(self) -> dict[str, Any]:
        """How the client is made: for one file, as its connection belongs to one host."""
        return {
            "verify": self.network.tls(),
            "trust_env": False,  # no proxy: it would resolve the name once more
            "follow_redirects": False,
            "timeout": TIMEOUT,
        }

    def request(self, address: str) -> httpx.Request:
        """The request to the very address that was checked, for the name that was asked."""
        return httpx.Request(
            "GET",
            self._url.copy_with(host=address, fragment=None),
            headers={
                "Host": self._url.netloc.decode("ascii"),
                "User-Agent": user_agent(),
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": self.host, "timeout": TIMEOUT.as_dict()},
        )

    def begin(self, response: httpx.Response) -> None:
        """Refuse an answer that is not the file, or is known to be too large."""
        if response.is_redirect:
            raise self.error("is somewhere else now, and redirects are not followed")
        if response.status_code != 200:
            raise self.error(
                f"was refused with HTTP {response.status_code}; addresses die in a day"
            )
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self.error("came compressed, though that was not asked for")
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()

    def received(self, part: bytes) -> bytes:
        """Count what has come."""
        self._received += len(part)
        if self._received > self._max_bytes:
            raise self._too_large()
        if time.monotonic() > self.deadline:
            raise self.late()
        return part

    def late(self) -> DownloadError:
        """The error for a download that takes too long."""
        return self.error("took too long to come", retryable=True)

    def _too_large(self) -> DownloadError:
        return self.error(f"is larger than max_bytes={self._max_bytes}")


def _fetch(download: _Download, new: _NewFile) -> None:
    addresses = download.checked(download.resolved())
    with download.told(), httpx.Client(**download.options()) as http:
        response = _first(http, download, addresses)
        try:
            download.begin(response)
            for part in response.iter_raw():
                new.write(download.received(part))
        finally:
            response.close()


def _first(http: httpx.Client, download: _Download, addresses: Sequence[str]) -> httpx.Response:
    """The answer of the first address that can be reached."""
    *others, last = addresses
    for address in others:
        try:
            return http.send(download.request(address), stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return http.send(download.request(last), stream=True)


async def _in_time(download: _Download, new: _NewFile) -> None:
    if not await within(download.deadline - time.monotonic(), _afetch(download, new)):
        raise download.late()


async def _afetch(download: _Download, new: _NewFile) -> bool:
    """Whether it was fetched: nothing else comes of it but errors."""
    addresses = download.checked(await asyncio.to_thread(download.resolved))
    with download.told():
        async with httpx.AsyncClient(**download.options()) as http:
            response = await _afirst(http, download, addresses)
            try:
                download.begin(response)
                async for part in response.aiter_raw():
                    await asyncio.to_thread(new.write, download.received(part))
            finally:
                await response.aclose()
    return True


async def _afirst(
    http: httpx.AsyncClient, download: _Download, addresses: Sequence[str]
) -> httpx.Response:
    *others, last = addresses
    for address in others:
        try:
            return await http.send(download.request(address), stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await http.send(download.request(last), stream=True)


class _NewFile:
    """A file that was not there before, and is not there after a failure."""

    _FLAGS = (
        os.O_WRONLY
        | os.O_CREAT
        | os.O_EXCL  # it neither replaces a file nor follows a link
        | getattr(os, "O_BINARY", 0)
    )

    def __init__(self, folder: Path, number: int, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem, suffix = _own_name(name)
        for again in count(1):
            last = "" if again == 1 else f"-{again}"
            self.path = folder / f"{number:02}-{stem}{last}{suffix}"
            try:
                self._file = os.fdopen(os.open(self.path, self._FLAGS, 0o600), "wb")
            except FileExistsError:
                continue
            return

    def write(self, part: bytes) -> None:
        """Add to it."""
        self._file.write(part)

    def __enter__(self) -> _NewFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError:
            if error is None:
                self.path.unlink(missing_ok=True)
                raise
        if error is not None:
            self.path.unlink(missing_ok=True)


def _own_name(name: str) -> tuple[str, str]:
    """A stem of plain letters and digits, and the extension if it looks like one."""
    stem, dot, last = re.split(r"[/\\]", name)[-1].rpartition(".")
    suffix = dot + last
    if not stem or not _SUFFIX.fullmatch(suffix):
        stem, suffix = stem + suffix, ""
    return _ODD.sub("-", stem).strip("-_")[:60] or "file", suffix.lower()


def _encoded(content: str) -> bytes:
    return content.encode("utf-8", "replace")
