"""nginx in front of an API, as its documentation has it: `proxy_pass` and nothing else.

Where no nginx is installed, a proxy that speaks to the server as nginx does by default: the whole
request first, HTTP/1.0 and `Connection: close`, and 502 when the server's answer cannot be read.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.support.system import eventually

_SITE = """\
{user}
daemon off; error_log {folder}/error.log; pid {folder}/pid;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {target};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


class Proxy:
    """In front of `target`; `url` is where it listens."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._stop: Callable[[], None] = lambda: None
        self.url = ""

    def __enter__(self) -> Self:
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            self._start_own()
        else:
            self._start_nginx(program)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start_nginx(self, program: str) -> None:
        folder, port = Path(tempfile.mkdtemp(prefix="sf-nginx-")), free_port()
        self.url = f"http://127.0.0.1:{port}"
        site = _SITE.format(
            user="user root;" if os.getuid() == 0 else "",
            folder=folder,
            port=port,
            target=self._target,
        )
        (folder / "nginx.conf").write_text(site)
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(folder / "nginx.conf")],
            stderr=subprocess.DEVNULL,
        )

        def stop() -> None:
            process.terminate()
            process.wait(10)
            shutil.rmtree(folder)

        self._stop = stop
        eventually(lambda: _answers(self.url))

    def _start_own(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._target))
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        self._stop = stop


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _handler(target: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            upstream = http.client.HTTPConnection(urlsplit(target).netloc, timeout=30)
            upstream._http_vsn, upstream._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]  # As nginx speaks.
            came_from = self.headers.get("x-forwarded-for")
            forwarded = ", ".join(filter(None, [came_from, self.client_address[0]]))
            headers = {
                **{name: value for name, value in self.headers.items() if name != "Host"},
                "Connection": "close",
                "X-Forwarded-For": forwarded,
            }
            try:
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                status, received = answer.status, answer.read()
                kind = answer.headers.get("content-type", "")
            except OSError:
                status, received, kind = 502, b"", "text/plain"
            upstream.close()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(received)))
            self.end_headers()
            self.wfile.write(received)

        def log_message(self, *_arguments: object) -> None:
            """Nothing."""

    return Handler
