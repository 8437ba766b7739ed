"""The way to the API: its address, names and numbers, a proxy in between, a connection."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from ..api.credentials import check_base_url, is_loopback
from ..errors import ConfigurationError
from .findings import Finding

VARIABLE = "STEWRD_BASE_URL"
CONNECT = 5.0
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API is."""

    url: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Place:
        """From a URL that was checked."""
        parts = urlsplit(url)
        return cls(url, str(parts.hostname), parts.port or _PORTS[parts.scheme])


def find_address(given: str | None) -> tuple[Place | None, Finding]:
    """The address that will be used, None if none can be, and what is to be said of it."""
    named = os.environ.get(VARIABLE)
    origin = "--base-url" if given else VARIABLE if named else "the public API"
    try:
        place = Place.of(check_base_url(given))
    except ConfigurationError as error:
        return None, Finding("address", "problem", f"{origin}: {error.message}", error.advice)
    return place, Finding("address", "ok", f"{place.url} ({origin})")


def way_to(place: Place) -> Iterator[Finding]:
    """Look whether it can be reached; a problem is the last finding."""
    proxy = _proxy_for(place)
    if proxy is None:
        yield _connected("connection", place.host, place.port)
        return
    shown = f"{proxy.host}:{proxy.port}"
    seen = _connected("proxy", proxy.host, proxy.port)
    advice = (
        f"It comes from the environment (https_proxy, all_proxy): correct it there, or unset it "
        f"if none is needed, or put {place.host} into no_proxy."
    )
    told = f"{shown} is used for {place.host}; {seen.found}"
    yield Finding("proxy", seen.grade, told, advice if seen.grade == "problem" else "")


def _proxy_for(place: Place) -> Place | None:
    """The proxy of the environment; http is spoken with this machine alone, and without one."""
    if not place.url.startswith("https:") or proxy_bypass(place.host):
        return None
    proxies = getproxies()
    url = proxies.get("https") or proxies.get("all")
    if not url:
        return None
    # It may hold a password, so only its host and port are ever told.
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        return Place("", "?", 0)
    try:
        return Place("", parts.hostname or "?", parts.port or _PORTS.get(parts.scheme, 1080))
    except ValueError:
        return Place("", parts.hostname or "?", 0)


def _connected(name: str, host: str, port: int) -> Finding:
    try:
        numbers = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        advice = "Check its spelling, and whether this machine is online and its DNS works."
        return Finding(name, "problem", f"there is no address for {host}", advice)
    began = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=CONNECT).close()
    except OSError as error:
        return _not_connected(name, host, port, error)
    took = (time.monotonic() - began) * 1000
    found = f"{host}:{port} accepts connections ({len(numbers)} known, {took:.0f} ms)"
    return Finding(name, "ok", found.replace("known", "address" + "es" * (len(numbers) != 1)))


def _not_connected(name: str, host: str, port: int, error: OSError) -> Finding:
    if isinstance(error, ConnectionRefusedError):
        found = f"{host}:{port} refuses connections: nothing listens there"
        advice = "Check the port."
        if is_loopback(host):
            advice += " If the emulator is meant, start it:\n"
            advice += f"  python -m stewrd_integrations.emulator --port {port}"
        return Finding(name, "problem", found, advice)
    why = "did not answer" if isinstance(error, TimeoutError) else "can't be reached"
    advice = "Check the network, and whether a firewall or a VPN is in between."
    return Finding(name, "problem", f"{host}:{port} {why} ({type(error).__name__})", advice)
