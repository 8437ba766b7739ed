"""A file server with TLS on loopback, whose answers a test writes byte by byte."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "files.example"
PUBLIC = "127.0.0.1"
PRIVATE = "127.0.0.2"


def certified(path: Path) -> Path:
    """A certificate of the host that signs itself, and its key, in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@dataclass
class Server:
    """Answers every request with the same bytes, and remembers what it was asked."""

    certificate: Path
    address: str = PUBLIC
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    drip: float = 0.0  # seconds between two bytes
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    asked: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._tls = context
        self._listener = socket.create_server((self.address, 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def url(self, path: str = "/a?sig=s3cret", host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with self._tls.wrap_socket(line, server_side=True) as safe:
                    self._speak(safe)
            except OSError:
                line.close()

    def _speak(self, line: ssl.SSLSocket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            part = line.recv(65536)
            if not part:
                return
            request += part
        self.heard.append(request.decode())
        self.asked.set()
        if not self.drip:
            line.sendall(self.answer)
            return
        for at in range(len(self.answer)):
            line.sendall(self.answer[at : at + 1])
            time.sleep(self.drip)

    def stop(self) -> None:
        # Closing alone does not wake a thread that waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
