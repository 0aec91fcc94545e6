"""One tissue section: integer counts, coordinates and where its image lies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import DataError, short
from ..names import UNNAMED, check_labels, check_name, patient_name
from .scale import Stated

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Section:
    """A tissue section as measured; everything is in the order of its spots.

    Attributes:
        id: name of the section, unique in its dataset.
        patient: the patient it was taken from, UNNAMED where nobody is named; folds are made on this.
        counts: CSR int32, spots x genes, raw integer UMI counts.
        genes: gene symbols, unique, in the order of the columns of `counts`.
        spots: names of the spots, unique, in the order of the rows.
        array_xy: float64 (n, 2), position on the array in pitches.
        pixel_xy: float64 (n, 2), spot centre in pixels of the full-resolution image, or None.
        image: path of the full-resolution image, or None.
        microns_per_pixel: of that image, where known.
        spot_diameter: of a spot, in pixels of that image, where known.
        labels: a pathologist's label per spot ("" where there is none), or None.
        content: hash of all that the section's values come from.
        scales: what a reader found said of the microns per pixel of its coordinates; of a loaded section, what was
            taken.
    """

    id: str
    patient: str
    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    spots: tuple[str, ...]
    array_xy: NDArray[np.float64]
    pixel_xy: NDArray[np.float64] | None = None
    image: Path | None = None
    microns_per_pixel: float | None = None
    spot_diameter: float | None = None
    labels: tuple[str, ...] | None = None
    content: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)
    scales: tuple[Stated, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_name("a section", self.id)
        object.__setattr__(self, "patient", patient_name(self.patient) or UNNAMED)
        check_labels(f"a gene of section {self.id}", self.genes, DataError)
        check_labels(f"a spot of section {self.id}", self.spots, DataError)
        check_labels(f"a label of section {self.id}", self.labels or (), DataError)
        if (strange := next((gene for gene in self.genes if not gene or gene != gene.strip()), None)) is not None:
            raise DataError(
                f"Section {self.id}: expected names of genes without blanks around them, found {short(strange)}; trim or name it, "
                "or it is another gene than that of the other sections."
            )
        n, g = self.counts.shape
        for what, found, due in (
            ("spot names", len(self.spots), n),
            ("gene symbols", len(self.genes), g),
            ("array coordinates", len(self.array_xy), n),
            ("pixel coordinates", n if self.pixel_xy is None else len(self.pixel_xy), n),
            ("labels", n if self.labels is None else len(self.labels), n),
        ):
            if found != due:
                raise DataError(f"Section {self.id}: expected {due} {what}, found {found}; check its tables.")
        for what, place in (("array", self.array_xy), ("pixel", self.pixel_xy)):
            if place is not None and np.shape(place) != (n, 2):
                raise DataError(
                    f"Section {self.id}: expected x and y as {what} coordinates, found an array of shape {np.shape(place)}; give two."
                )
        if self.spot_diameter is not None and not 0 < self.spot_diameter < float("inf"):
            raise DataError(
                f"Section {self.id}: expected a spot's diameter above 0 pixels, found {self.spot_diameter:g}; correct it."
            )
        for what, names in (("spot", self.spots), ("gene", self.genes)):
            if len(set(names)) != len(names):
                twice = [name for name, times in Counter(names).items() if times > 1]
                raise DataError(
                    f"Section {self.id}: each {what} must appear once, but {', '.join(twice[:5])} "
                    f"appear{'s' if len(twice) == 1 else ''} more than once; remove or merge the duplicates."
                )

    @property
    def n_spots(self) -> int:
        """Rows of `counts`."""
        return int(self.counts.shape[0])

    @property
    def library_size(self) -> NDArray[np.int64]:
        """Total UMI of each spot over *all* genes of the section, int64 (n,)."""
        return np.asarray(self.counts.sum(axis=1, dtype=np.int64)).ravel()

    def columns(self, genes: tuple[str, ...]) -> NDArray[np.int32]:
        """Counts of the named genes, int32 (n, len(genes)); a gene that the section lacks reads 0."""
        where = {gene: i for i, gene in enumerate(self.genes)}
        index = np.array([where.get(gene, -1) for gene in genes], dtype=np.intp)
        out = np.zeros((self.n_spots, len(genes)), dtype=np.int32)
        present = index >= 0
        out[:, present] = self.counts.tocsc()[:, index[present]].toarray()
        return out

    def rows(self, rows: NDArray[np.integer], notes: tuple[str, ...] = ()) -> Section:
        """The section of some of its spots, in the order of `rows`, with further notes."""
        every = len(rows) == self.n_spots and bool((rows == np.arange(self.n_spots)).all())
        if every:
            return replace(self, notes=(*self.notes, *notes))
        return replace(
            self,
            counts=self.counts[rows],
            spots=tuple(self.spots[i] for i in rows),
            array_xy=self.array_xy[rows],
            pixel_xy=None if self.pixel_xy is None else self.pixel_xy[rows],
            labels=None if self.labels is None else tuple(self.labels[i] for i in rows),
            notes=(*self.notes, *notes),
        )

    def to_anndata(self) -> AnnData:
        """The section as AnnData: counts in `X`, `obsm["spatial"]` in pixels, `obs["patient"]`."""
        import anndata
        import pandas as pd

        data = anndata.AnnData(
            X=self.counts.copy(),
            obs=pd.DataFrame({"section": self.id, "patient": self.patient}, index=list(self.spots)),
            var=pd.DataFrame(index=list(self.genes)),
        )
        data.obsm["array"] = np.asarray(self.array_xy)
        if self.pixel_xy is not None:
            data.obsm["spatial"] = np.asarray(self.pixel_xy)
        if self.labels is not None:
            data.obs["label"] = list(self.labels)
        data.uns["qbench"] = {
            name: value
            for name, value in (
                ("image", None if self.image is None else str(self.image)),
                ("microns_per_pixel", self.microns_per_pixel),
                ("spot_diameter", self.spot_diameter),
            )
            if value is not None
        }
        return data

    @classmethod
    def from_anndata(cls, data: AnnData, section: str | None = None, patient: str | None = None) -> Section:
        """The inverse of `to_anndata`; `section` and `patient` stand in where `obs` does not name them.

        Raises:
            DataError: counts that are not whole numbers, no coordinates, or no patient.
        """
        names = {}
        for key, given in (("section", section), ("patient", patient)):
            stated = {patient_name(value) for value in data.obs[key].unique()} if key in data.obs else set()
            if given is None and (len(stated) != 1 or (key == "section" and None in stated)):
                raise DataError(f"The AnnData names no single {key} in obs['{key}']; pass {key}= to say which it is.")
            names[key] = given if given is not None else stated.pop() or UNNAMED
        pixel = np.asarray(data.obsm["spatial"], dtype=np.float64) if "spatial" in data.obsm else None
        array = np.asarray(data.obsm["array"], dtype=np.float64) if "array" in data.obsm else pixel
        if array is None:
            raise DataError(
                f"Section {names['section']}: expected coordinates in obsm['spatial'], found none; add spot centres in pixels."
            )
        extra = dict(data.uns.get("qbench", {}))
        image = extra.get("image")
        return cls(
            id=names["section"],
            patient=names["patient"],
            counts=whole_counts(data.X, f"Section {names['section']}"),
            genes=tuple(map(str, data.var_names)),
            spots=tuple(map(str, data.obs_names)),
            array_xy=array,
            pixel_xy=pixel,
            image=Path(str(image)) if image is not None else None,
            microns_per_pixel=None if (mpp := extra.get("microns_per_pixel")) is None else float(mpp),
            spot_diameter=None if (size := extra.get("spot_diameter")) is None else float(size),
            labels=tuple(map(str, data.obs["label"])) if "label" in data.obs else None,
        )


def whole_counts(values: object, where: str) -> sparse.csr_matrix:
    """Any matrix as CSR int32 counts.

    Raises:
        DataError: negative, fractional or non-finite values, with the first one found.
    """
    if isinstance(values, np.ndarray) and (values.dtype == np.float16 or not values.dtype.isnative):
        values = values.astype(np.float64)  # scipy takes neither
    matrix = sparse.csr_matrix(values)
    matrix.sum_duplicates()  # before int32, which a sum may leave
    data = matrix.data
    wrong = ~np.isfinite(data) | (data < 0) | (data != np.floor(data)) | (data > np.iinfo(np.int32).max)
    if wrong.any():
        raise DataError(
            f"{where}: expected whole, non-negative counts, found {data[wrong][0]!s}; point to the table or layer that "
            "holds raw counts."
        )
    return matrix.astype(np.int32)
