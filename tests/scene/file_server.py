"""Serves a folder to GDAL, whole files or ranges of them: python file_server.py FOLDER prints the port.

It runs in a process of its own, because GDAL keeps Python's lock while it waits for an answer. /sent tells how many
bytes of files it has sent.
"""

from __future__ import annotations

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


class Files(BaseHTTPRequestHandler):
    folder: ClassVar[Path]
    sent: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path == "/sent":
            self._send(200, str(self.sent).encode(), {})
            return
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, stop = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
            part = {"Content-Range": f"bytes {first}-{stop - 1}/{len(content)}"}
            self._send(206, content[first:stop], part, body=body)
        else:
            self._send(200, content, {"Accept-Ranges": "bytes"}, body=body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            type(self).sent += len(content) if self.path != "/sent" else 0
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


if __name__ == "__main__":
    Files.folder = Path(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
