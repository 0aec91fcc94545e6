"""What a dataset's card lists: sections, and patients whom other datasets hold."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..names import check_name, patient_name


class SectionEntry(BaseModel):
    """One section of a user's own dataset; paths are relative to the data folder.

    Attributes:
        id: name of the section.
        patient: whom it was taken from; None promises nothing about leaks.
        file: the `.h5ad`, the Space Ranger folder, the HEST sample's id or the table of counts, as the reader wants.
        spots: table of spots (tables only): columns spot, x, y in pixels, and if known array_x, array_y in pitches.
        image: full-resolution image, or a HEST patch file.
        library: the sample whose spots are meant, where an `.h5ad` holds several (see `qbench data add`).
        bin: edge of the pseudo-spots that single molecules are counted in, microns (SpatialData only).
        layer: where raw counts lie in an `.h5ad`: a layer, or "raw"; None is `X`.
        symbols: column of `var` that holds gene symbols, where the names are Ensembl ids.
        labels: column of `obs` with a pathologist's labels.
        microns_per_pixel: of the image.
        spot_diameter: in pixels of the image.
        pixel_scale: factor from the stated coordinates to pixels of the image; stating it, even as 1, says that it was
            checked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    patient: str | None = None
    file: str
    spots: str | None = None
    image: str | None = None
    library: str | None = None
    bin: float | None = Field(None, gt=0, allow_inf_nan=False)
    layer: str | None = None
    symbols: str | None = None
    labels: str | None = None
    microns_per_pixel: float | None = Field(None, gt=0, allow_inf_nan=False)
    spot_diameter: float | None = Field(None, gt=0, allow_inf_nan=False)
    pixel_scale: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("id", mode="before")
    @classmethod
    def _id(cls, value: object) -> object:
        """YAML reads `id: 7` as a number; a name it is all the same."""
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        return check_name("a section", value) if isinstance(value, str) else value

    @field_validator("bin", "microns_per_pixel", "spot_diameter", "pixel_scale", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """YAML's true would be read as 1."""
        if isinstance(value, bool):
            raise ValueError("expected a number")
        return value

    @field_validator("patient", mode="before")
    @classmethod
    def _patient(cls, value: object) -> object:
        """None for what names nobody: NaN, NA and the like; of a number with a point, 1.10, YAML keeps no more than 1.1."""
        named = math.isnan(value) if isinstance(value, float) else isinstance(value, str | int)
        return patient_name(value) if named and not isinstance(value, bool) else value


class SamePatients(BaseModel):
    """Patients whom another dataset holds, too: names here, and the names there, in no known order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    here: tuple[str, ...]
    there: tuple[str, ...]
