"""The command as people run it: what they see, and with real networks in between."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stewrd_integrations.doctor.__main__ import main
from stewrd_integrations.doctor.findings import Finding, as_lines
from stewrd_integrations.emulator import Emulator

from .conftest import KEY


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "stewrd_integrations.doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.fixture
def _from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(root))


pytestmark = pytest.mark.usefixtures("_from_anywhere")


def test_what_people_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with Emulator() as stewrd:
        done = command(STEWRD_API_KEY=stewrd.api_key, STEWRD_BASE_URL=stewrd.url)
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0].startswith("stewrd-integrations doctor, 2")
        assert "  ok       run             the agent answered in 0." in done.stdout
        assert lines[-1] == "No problem was found. 1 credit spent."
        assert stewrd.api_key not in done.stdout
        assert done.stdout.isascii() and max(map(len, lines)) <= 80


def test_problems_are_counted_and_told_with_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--base-url", "http://127.0.0.1:9"]) == 1
    text = capsys.readouterr().out
    assert "  PROBLEM  key             STEWRD_API_KEY is not set\n" in text
    assert "\n" + " " * 30 + "  export STEWRD_API_KEY=sk-stw_...\n" in text
    assert text.endswith("\n2 problems. 0 credits spent.\n")


def test_a_terminal_that_has_not_all_characters() -> None:
    done = command("--store", "sqlite:///\u65e5\u672c.db", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 1 and r"\u65e5\u672c.db" in done.stdout


def test_a_credit_of_which_nobody_knows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(usage="none") as stewrd:
        monkeypatch.setenv("STEWRD_API_KEY", stewrd.api_key)
        assert main(["--base-url", stewrd.url]) == 0
    assert capsys.readouterr().out.endswith(" Whether a credit was spent is not known.\n")


@pytest.mark.parametrize("wrong", [["--timeout", "0"], ["--timeout", "x"], ["--what"]])
def test_wrong_arguments(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "usage: python -m stewrd_integrations.doctor" in told
    assert wrong == ["--what"] or "is not a number of seconds above 0" in told


def test_long_findings_are_wrapped_and_commands_are_not() -> None:
    command = "pip install " + "long " * 20
    told = as_lines(Finding("x", "note", "word " * 40, f"Do this:\n  {command}"), 70).splitlines()
    assert max(map(len, told[:-1])) <= 70
    assert told[-2].strip() == "-> Do this:" and told[-1].strip() == command.strip()


# -- networks --------------------------------------------------------------------------


@contextmanager
def listening(serve: object) -> Iterator[int]:
    """Serves each connection with a function, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    serve(connection)  # type: ignore[operator]  # a function of a socket
                except OSError:  # the client does not like what it sees
                    continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def certificate(folder: Path) -> Path:
    """One for this machine that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path := certificate(tmp_path))

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as line:
            asked = b"-"
            # To its end: a connection that is closed before is reset, and its answer lost.
            while asked and not asked.endswith(b"}"):
                asked = line.recv(65536)
            line.sendall(b'HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\n{"code":1}')

    with listening(serve) as port:
        where = {"STEWRD_API_KEY": KEY, "STEWRD_BASE_URL": f"https://127.0.0.1:{port}"}
        done = command(**where)
        assert done.returncode == 1
        assert "  PROBLEM  TLS             the server's certificate is not trusted" in done.stdout
        trusting = command(**where, SSL_CERT_FILE=str(path))
        assert "HTTP 401" in trusting.stdout


@pytest.mark.parametrize(
    ("status", "told"),
    [("407 Proxy Authentication Required", "asks for a name"), ("403 Forbidden", "refuses")],
)
def test_a_proxy_that_refuses(status: str, told: str) -> None:
    def serve(connection: socket.socket) -> None:
        if connection.recv(65536):
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    with listening(serve) as port:
        done = command(
            STEWRD_API_KEY=KEY,
            STEWRD_BASE_URL="https://stewrd.invalid",
            HTTPS_PROXY=f"http://user:hidden@127.0.0.1:{port}",
        )
    assert done.returncode == 1
    assert f"PROBLEM  API             the proxy {told}" in done.stdout
    assert "ok       proxy" in done.stdout and "hidden" not in done.stdout
