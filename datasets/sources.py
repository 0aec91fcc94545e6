"""Where a dataset's files can be fetched, as its card states it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SECTION = "{section}"  # in an address or a place: the section's name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RepositorySource(_Part):
    """Files of a public git repository at one commit, fetched one by one.

    Attributes:
        listing: URL of the commit's tree as JSON ({"tree": [{"path", "type", "size", "sha"}]}, sha of the git blob).
        raw: URL below which the files lie.
        folder: the part of the tree that is the dataset, ending in "/", or "".
        include: patterns (fnmatch) of paths below `folder` that are fetched.
    """

    kind: Literal["repository"]
    listing: str
    raw: str
    folder: str = ""
    include: tuple[str, ...]


class Archive(_Part):
    r"""A zip or tar file, and where its members go.

    Attributes:
        url: of the file.
        sha256: where it is known beforehand.
        password: name of the password that opens it; given on the command line or in the environment, never kept here.
        place: regular expression over a member's path -> its path in the data folder, groups as \1; the first match
            wins, members that match none are left out; a gzipped member whose place does not end in .gz is unpacked.
    """

    url: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    password: str | None = None
    place: dict[str, str]

    @property
    def name(self) -> str:
        """File name of the archive."""
        return self.url.split("?")[0].rstrip("/").rpartition("/")[2]


class ArchiveSource(_Part):
    """Zip files of a public record; `passwords` says where its publisher prints them."""

    kind: Literal["archives"]
    archives: tuple[Archive, ...]
    passwords: str = ""


class PublicFile(_Part):
    """A single file: its address, and its path in the data folder; `sha256` where it is known beforehand."""

    url: str
    to: str
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @field_validator("to")
    @classmethod
    def _inside(cls, to: str) -> str:
        path = PurePosixPath(to)
        if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in to or ":" in to:
            raise ValueError(f"must lie in the data folder, found '{to}'")
        return to


class FileSource(_Part):
    """Files and archives at addresses of their own; those with `{section}` are fetched for each section.

    Attributes:
        sections: all that there are; empty where the user names what is wanted.
        token: environment variable of the token that is sent along, where it is set.
        terms: where its licence is accepted.
    """

    kind: Literal["files"]
    files: tuple[PublicFile, ...] = ()
    archives: tuple[Archive, ...] = ()
    sections: tuple[str, ...] = ()
    token: str | None = None
    terms: str = ""

    @property
    def by_section(self) -> bool:
        """Whether anything is fetched section by section."""
        return any(SECTION in url for url in [*(f.url for f in self.files), *(a.url for a in self.archives)])


Source = Annotated[RepositorySource | ArchiveSource | FileSource, Field(discriminator="kind")]
