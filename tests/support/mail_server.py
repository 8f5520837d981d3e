"""A mail server that keeps what it gets: enough of RFC 5321 for `smtplib`."""

from __future__ import annotations

import datetime as dt
import socketserver
import ssl
import threading
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Received(NamedTuple):
    recipient: str
    mail: EmailMessage
    encrypted: bool


class MailServer:
    """Listens on a free port of 127.0.0.1; `tls` speaks TLS from the start, or offers STARTTLS."""

    def __init__(self, context: ssl.SSLContext | None = None, tls: str = "") -> None:
        self.received: list[Received] = []
        self.log_ins: list[str] = []
        # What to answer instead, by verb.
        self.refusals: dict[str, str] = {}
        self.context = context
        self.tls = tls

    def __enter__(self) -> Self:
        self._server = _Listener(("127.0.0.1", 0), partial(_Conversation, self))
        scheme = "smtps" if self.tls == "smtps" else "smtp"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="mail-server"
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = False


class _Conversation(socketserver.BaseRequestHandler):
    def __init__(self, server: MailServer, *arguments: Any) -> None:
        self._of = server
        self._recipient = ""
        self._encrypted = False
        super().__init__(*arguments)

    def handle(self) -> None:
        with suppress(ssl.SSLError, ConnectionError):  # A client that does not trust, or is gone.
            self._files = self.request.makefile("rwb")
            if self._of.tls == "smtps":
                self._encrypt()
            self._answer("220 ready")
            while line := self._files.readline().decode().strip():
                verb, _, rest = line.partition(" ")
                self._do(verb.upper(), rest)
                if verb.upper() == "QUIT":
                    return

    def finish(self) -> None:
        with suppress(OSError):
            self._files.close()
        self.request.close()

    def _do(self, verb: str, rest: str) -> None:
        if verb in self._of.refusals:
            self._answer(self._of.refusals[verb])
            return
        if verb == "EHLO":
            offers_tls = self._of.tls == "starttls" and not self._encrypted
            offered = "250-STARTTLS\r\n" if offers_tls else ""
            self._answer(f"250-mail\r\n{offered}250 AUTH PLAIN")
        elif verb == "STARTTLS":
            self._answer("220 go")
            self._encrypt()
        elif verb == "AUTH":
            self._of.log_ins.append(rest)
            self._answer("235 welcome")
        elif verb == "DATA":
            self._answer("354 go")
            lines = iter(self._files.readline, b".\r\n")
            mail = message_from_bytes(b"".join(lines), policy=policy.default)
            self._of.received.append(Received(self._recipient, mail, self._encrypted))
            self._answer("250 done")
        else:
            if verb == "RCPT":
                self._recipient = rest.partition("<")[2].partition(">")[0]
            self._answer("221 bye" if verb == "QUIT" else "250 done")

    def _answer(self, text: str) -> None:
        self._files.write(f"{text}\r\n".encode())
        self._files.flush()

    def _encrypt(self) -> None:
        assert self._of.context is not None
        self._files.close()
        self.request = self._of.context.wrap_socket(self.request, server_side=True)
        self._files = self.request.makefile("rwb")
        self._encrypted = True


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a context of a server at 127.0.0.1, and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "server.pem", folder / "server.key"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context, file
