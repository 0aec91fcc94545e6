"""Parts of a dataset's card: the sections that it lists, and where its files can be fetched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..names import check_name, patient_name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SectionEntry(_Part):
    """One section of a user's own dataset; paths are relative to the data folder.

    Attributes:
        id: name of the section. patient: whom it was taken from; None promises nothing about leaks.
        file: the `.h5ad`, the Space Ranger folder, the HEST sample's id or the table of counts, as the reader wants.
        spots: table of spots (tables only): columns spot, x, y in pixels, and if known array_x, array_y in pitches.
        image: full-resolution image, or a HEST patch file.
        library: the sample whose spots are meant, where an `.h5ad` holds several (see `qbench data add`).
        bin: edge of the pseudo-spots that single molecules are counted in, microns (SpatialData only).
        layer: where raw counts lie in an `.h5ad`: a layer, or "raw"; None is `X`.
        symbols: column of `var` that holds gene symbols, where the names are Ensembl ids.
        labels: column of `obs` with a pathologist's labels.
        microns_per_pixel: of the image. spot_diameter: in pixels of the image.
        pixel_scale: factor from the stated coordinates to pixels of the image; stating it, even as 1, says that it was
            checked.
    """

    id: str
    patient: str | None = None
    file: str
    spots: str | None = None
    image: str | None = None
    library: str | None = None
    bin: float | None = Field(None, gt=0)
    layer: str | None = None
    symbols: str | None = None
    labels: str | None = None
    microns_per_pixel: float | None = Field(None, gt=0)
    spot_diameter: float | None = Field(None, gt=0)
    pixel_scale: float | None = Field(None, gt=0)

    @field_validator("id", mode="before")
    @classmethod
    def _id(cls, value: object) -> object:
        """YAML reads `id: 7` as a number; a name it is all the same."""
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        return check_name("a section", value) if isinstance(value, str) else value

    @field_validator("patient", mode="before")
    @classmethod
    def _patient(cls, value: object) -> object:
        """None for what names nobody: an empty cell, NaN, NA and the like."""
        named = isinstance(value, str | int | float) and not isinstance(value, bool)
        return patient_name(value) if named else value


class RepositorySource(_Part):
    """Files of a public git repository at one commit, fetched one by one.

    Attributes:
        listing: URL of the commit's tree as JSON ({"tree": [{"path", "type", "size", "sha"}]}, sha of the git blob).
        raw: URL below which the files lie. folder: the part of the tree that is the dataset, ending in "/", or "".
        include: patterns (fnmatch) of paths below `folder` that are fetched.
    """

    kind: Literal["repository"]
    listing: str
    raw: str
    folder: str = ""
    include: tuple[str, ...]


class Archive(_Part):
    """A zip file, and where its members go.

    Attributes:
        url: of the file. sha256: where it is known beforehand.
        password: name of the password that opens it; given on the command line or in the environment, never kept here.
        place: regular expression over a member's path -> its path in the data folder, groups as \\1; the first match
            wins,
            members that match none are left out.
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


Source = Annotated[RepositorySource | ArchiveSource, Field(discriminator="kind")]
