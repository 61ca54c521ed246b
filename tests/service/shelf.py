"""A web server that knows parts of files, in a process of its own: GDAL waits for it without letting Python work.

python shelf.py FOLDER prints its port, and then each path that is asked for.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Shelf(BaseHTTPRequestHandler):
    """Gives the files of a folder."""

    folder = Path()

    def answer(self) -> None:
        print(self.path, flush=True)  # noqa: T201
        file = self.folder / self.path.lstrip("/")
        content = file.read_bytes() if file.is_file() else b""
        wanted = self.headers.get("Range", "")
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first or 0) : int(last) + 1 if last else None]
        self.send_response(206 if wanted and part else 200 if content else 404)
        self.send_header("Content-Length", str(len(part)))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def log_message(self, *_: Any) -> None:
        """Nothing but the paths."""


Shelf.do_GET = Shelf.do_HEAD = Shelf.answer  # type: ignore[attr-defined]

if __name__ == "__main__":
    Shelf.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()
