"""An HTTP server on this machine that serves bytes, and errs on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, what went wrong on purpose, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # bytes of the body that the next answers send
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)  # what a file's Authorization must be; else 401
    kinds: dict[str, str] = field(default_factory=dict)  # content types
    url: str = ""


def serving() -> Iterator[Server]:
    """A server while a test runs; its files are put into `Server.files`."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.split("?")[0].lstrip("/")
            wanted = self.headers.get("Range")
            state.asked.append((name, wanted))
            if name not in state.files:
                self.send_error(404)
                return
            if state.tokens.get(name) not in (None, self.headers.get("Authorization")):
                self.send_error(401)
                return
            body, start = state.files[name], 0
            if wanted and state.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if name in state.kinds:
                self.send_header("Content-Type", state.kinds[name])
            self.end_headers()
            stop = start + state.cut_after.pop(0) if state.cut_after else len(body)
            self.wfile.write(body[start:stop])

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as state.url:
        yield state


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which a handler answers in a thread."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
