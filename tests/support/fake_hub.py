"""A hub on this machine with one repository: what huggingface_hub asks for, served, refused or cut short on purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from .http_server import answering

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """What it serves and how it errs.

    Attributes:
        files: by "owner/name/file". revisions: those that it knows.
        gated: whether only `member` is let in. member, known: tokens that it lets in, and that it knows at all.
        cut_after: bytes of the body that the next answers send before the line is dropped.
        asked: method, path and range of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    revisions: tuple[str, ...] = ("main", COMMIT)
    gated: bool = False
    member: str = "hf_member"
    known: tuple[str, ...] = ("hf_member", "hf_stranger")
    cut_after: list[int] = field(default_factory=list)
    sha256: str | None = None  # what it says of the files, if not the truth
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""


def hub() -> Iterator[Hub]:
    """A hub while a test runs."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _refuse(self, status: int, code: str = "") -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, *, body: bool) -> None:
            state.asked.append((self.command, self.path, self.headers.get("Range")))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if self.path == "/":
                return self._refuse(200)
            if token and token not in state.known:
                return self._refuse(401)
            if self.path == "/api/whoami-v2":
                return self._json(b'{"name": "somebody", "type": "user"}') if token else self._refuse(401)
            if self.path.count("/resolve/") != 1:
                return self._refuse(404)
            owner, name, _, revision, file = self.path.lstrip("/").removeprefix("datasets/").split("/", 4)
            content = state.files.get(f"{owner}/{name}/{file}")
            if not any(known.startswith(f"{owner}/{name}/") for known in state.files):
                return self._refuse(404, "RepoNotFound")
            if state.gated and token != state.member:
                return self._refuse(403 if token else 401, "GatedRepo")
            if revision not in state.revisions:
                return self._refuse(404, "RevisionNotFound")
            if content is None:
                return self._refuse(404, "EntryNotFound")
            self._send(content, body)
            return None

        def _json(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _send(self, content: bytes, body: bool) -> None:
            wanted = self.headers.get("Range")
            start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
            self.send_response(206 if start else 200)
            etag = state.sha256 or hashlib.sha256(content).hexdigest()
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if body:
                stop = start + state.cut_after.pop(0) if state.cut_after else len(content)
                self.wfile.write(content[start:stop])
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as state.url:
        yield state
