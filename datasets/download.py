"""One file over HTTP: resumed where a connection was cut, held against its checksum, under its name only when whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DataError, IntegrityError
from ..files import plain_sha256, settle

Progress = Callable[[str, int, int], None]

TRIES = 5  # without a single new byte in between
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 16
PART = ".part"


@dataclass(frozen=True)
class Expected:
    """What is known of a file beforehand: bytes, sha256, sha1 of the git blob; None where it is not known."""

    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None


class Answered(DataError):
    """A server that refused a file: `url` and its `status`."""

    def __init__(self, url: str, status: int, message: str) -> None:
        super().__init__(message)
        self.url, self.status = url, status


def download(
    url: str,
    path: Path,
    expected: Expected,
    progress: Progress | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Fetch a file to `path`; returns its sha256.

    What a cut connection left in `path.part` is continued with a Range request, by this call or a later one. `headers` are
    sent along, but to no other host that the address leads to (Authorization).

    Raises:
        DataError: no network, no such file, or a connection that keeps breaking; nothing appears under `path`.
        IntegrityError: the bytes are not the expected ones; they are removed, so that the next try starts anew.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    resumed = part.exists() and part.stat().st_size > 0
    try:
        _transfer(url, part, path.name, progress, headers or {})
    except DataError:
        if not part.stat().st_size:
            part.unlink()  # nothing arrived: nothing is left
        raise
    try:
        found = check(part, url, expected)
    except IntegrityError:
        part.unlink()
        if not resumed:
            raise
        _transfer(url, part, path.name, progress, headers or {})  # what an earlier call had left was of another file
        try:
            found = check(part, url, expected)
        except IntegrityError:
            part.unlink()
            raise
    settle(part, path)
    return found


def check(path: Path, url: str, expected: Expected) -> str:
    """Hold a file against what is expected of it; returns its sha256.

    Raises:
        IntegrityError: names what differs.
    """
    size = path.stat().st_size
    if expected.size is not None and size != expected.size:
        raise IntegrityError(f"Expected {expected.size:,} bytes from {url}, found {size:,}; fetch it again.")
    if expected.git_blob is not None and (blob := git_blob(path)) != expected.git_blob:
        raise IntegrityError(
            f"Expected {url} with the git blob {expected.git_blob[:12]}, found {blob[:12]}; fetch it again, and if it "
            "stays so, do not use it."
        )
    found = plain_sha256(path)
    if expected.sha256 is not None and found != expected.sha256:
        raise IntegrityError(
            f"Expected {url} with sha256 {expected.sha256[:12]}, found {found[:12]}; fetch it again, and if it stays "
            "so, do not use it."
        )
    return found


def git_blob(path: Path) -> str:
    """sha1 of a file as git names it."""
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _transfer(url: str, part: Path, name: str, progress: Progress | None, headers: Mapping[str, str]) -> None:
    """Append to `part` until the server has no more to give."""
    import pooch
    import requests

    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        with part.open("r+b" if part.exists() else "w+b") as file:
            file.seek(before)
            bar = _Bar(name, before, progress)
            # Identity: a file must arrive as the bytes that were hashed. The hook sees the status before a byte is kept.
            fetch = pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=CHUNK,
                timeout=TIMEOUT,
                headers={"Accept-Encoding": "identity", **headers, **({"Range": f"bytes={before}-"} if before else {})},
                hooks={
                    "response": lambda response, *_args, file=file, bar=bar, **_kwargs: _begin(
                        response, file, bar, name
                    )
                },
            )
            try:
                fetch(url, file, None)
                return
            except requests.exceptions.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                if status == 416:  # the part is as long as the file, or longer: the checksum decides
                    return
                if status < 500 and status != 429:
                    word = getattr(error.response, "reason", "")
                    raise Answered(
                        url,
                        status,
                        f"Expected a file at {url}, but the server answered {status} {word}; the address in the "
                        "dataset's card may be out of date.",
                    ) from error
                reason: Exception = error
            except requests.exceptions.RequestException as error:
                reason = error
        failures = 0 if part.stat().st_size > before else failures + 1
        if failures >= (1 if _offline(reason) else TRIES):
            raise DataError(
                f"Could not fetch {url} ({_in_words(reason)}); check the network and run the same command again, what "
                "has arrived is kept."
            ) from reason


def _begin(response: Any, file: BinaryIO, bar: _Bar, name: str) -> None:
    """A server that ignores the Range request starts anew, and so does the file; a page in a file's place is none."""
    import requests

    kind = response.headers.get("Content-Type", "").partition(";")[0]
    page = {"text/html": (".html", ".htm"), "application/json": (".json",)}.get(kind)
    if response.status_code in (200, 206) and page is not None and not name.endswith(page):
        raise requests.exceptions.RequestException(f"the server sent a message ({kind}) instead of the file")
    if response.status_code == 200 and file.tell():
        file.seek(0)
        file.truncate()
        bar.done = 0


def _offline(error: Exception) -> bool:
    """Whether there is no way to the server at all, so that trying again at once is of no use."""
    text = str(error)
    return any(
        sign in text
        for sign in ("NameResolutionError", "Name or service not known", "Network is unreachable", "ProxyError")
    )


def _in_words(error: Exception) -> str:
    import requests

    if _offline(error):
        return "no network"
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {TIMEOUT} seconds"
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection was refused or cut"
    return str(error)


class _Bar:
    """What pooch takes for a progress bar: counts bytes and tells `progress`."""

    def __init__(self, name: str, done: int, progress: Progress | None) -> None:
        self.total = 0  # of this request, set by pooch
        self.done = done
        self._name = name
        self._progress = progress

    def update(self, n: int) -> None:
        self.done += n
        if self._progress is not None:
            self._progress(self._name, self.done, max(self.total, self.done))

    def reset(self) -> None:
        """Pooch fills the bar anew at the end; ours is full already."""
        self.done -= self.total

    def close(self) -> None:
        pass
