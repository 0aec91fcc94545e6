"""Fetch files from addresses of their own, section by section where a card says so, with a token where one is due."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigurationError, DataError, unknown
from ..names import check_name
from .download import Answered, Expected, Progress, download
from .fetch_archives import fetch_archives
from .fetched import Fetched, FetchRecord, held
from .sources import SECTION, Archive, FileSource, PublicFile

HUB = "https://huggingface.co"


def wanted_sections(source: FileSource, sections: Sequence[str], dataset: str) -> tuple[str, ...]:
    """The sections to fetch: those named, else all that the card knows; none where the files belong to all.

    Raises:
        ConfigurationError: a name that may not be one or is not the card's, none where one is due, some where none is.
    """
    if not source.by_section:
        if sections:
            raise ConfigurationError(f"{dataset} is fetched whole: leave out --sections.")
        return ()
    if not sections and not source.sections:
        raise ConfigurationError(
            f"{dataset} has too many samples to fetch all: name those wanted with --sections ID,ID."
        )
    for section in sections:
        check_name("a section (--sections)", section)
        if source.sections and section not in source.sections:
            raise unknown(f"section of {dataset}", section, source.sections)
    return tuple(dict.fromkeys(sections)) or source.sections


def fetch_files(
    source: FileSource, sections: Sequence[str], to: Path, record: FetchRecord, out: Fetched, progress: Progress | None
) -> None:
    """Fetch a source's files and archives; `sections` as `wanted_sections` gives them.

    Raises:
        DataError: no network, no such file, a licence that is not accepted.
        IntegrityError: a checksum that does not hold.
    """
    token = os.environ.get(source.token or "", "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    files, archives = _filled(source, sections)
    try:
        for done, file in enumerate(files):
            if progress is not None:
                progress("files", done, len(files))
            target = to / file.to
            expected = Expected(sha256=file.sha256 or record.sha256(file.to))
            if target.is_file():
                record.add(file.to, target, held(target, file.url, expected))
                out.kept.append(file.to)
                continue
            record.add(file.to, target, download(file.url, target, expected, progress, headers))
            record.write()  # a kill now must not lose what holds the file from here on
            out.new.append(file.to)
        if progress is not None and files:
            progress("files", len(files), len(files))
        fetch_archives(archives, to, record, out, progress, headers=headers)
    except Answered as error:
        if error.status in (401, 403) and source.token:
            state = "the one that is set was refused" if token else f"{source.token} is not set"
            raise DataError(
                f"{error.url} is only given to those who accepted its licence: accept it at {source.terms}, and set "
                f"{source.token} to a token of that account ({state})."
            ) from error
        if error.status == 404 and source.by_section and not source.sections:
            raise DataError(f"{error.url} does not exist; check the ids given with --sections.") from error
        raise


def _filled(source: FileSource, sections: Sequence[str]) -> tuple[list[PublicFile], list[Archive]]:
    """The files and archives with the sections' names put in."""
    files = [
        file.model_copy(update={"url": _in_url(file.url, section), "to": file.to.replace(SECTION, section)})
        for file in source.files
        for section in (sections if SECTION in file.url else [""])
    ]
    archives = [
        archive.model_copy(
            update={
                "url": _in_url(archive.url, section),
                "place": {key: value.replace(SECTION, section) for key, value in archive.place.items()},
            }
        )
        for archive in source.archives
        for section in (sections if SECTION in archive.url else [""])
    ]
    return files, archives


def _in_url(url: str, section: str) -> str:
    return _from_hub(url.replace(SECTION, quote(section)))


def _from_hub(url: str) -> str:
    """An address on the Hugging Face hub at the mirror that HF_ENDPOINT names, as its own client takes it."""
    mirror = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    return mirror + url.removeprefix(HUB) if mirror and url.startswith(f"{HUB}/") else url
