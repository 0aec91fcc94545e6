"""Predict a slide with a fitted model: tissue first, then windows of points, read, encoded and predicted in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...datasets.cache import ArrayCache
from ...datasets.cohort import SealedSection
from ...datasets.hashing import canonical_hash
from ...datasets.images import Image, open_image
from ...datasets.patches import read_patches
from ...datasets.scale import Stated, settle
from ...datasets.slides.kind import image_hash
from ...datasets.stain_treatment import Treatment, fit_treatment, sampled
from ...datasets.tissue import Overview, overview
from ...errors import ConfigurationError, DataError
from ...methods.encoders.registry import Weights
from ...methods.machine import EXACT
from ...version import __version__
from ..engine.fit_predict import predict, predict_fine
from .fine_store import FineStore
from .grid import Points, grid_points, listed_points, parse_length
from .model import FittedModel, load_model
from .output import Form, check_output, describe, write_output
from .parts import Parts
from .raster import write_raster
from .window_store import WindowStore

Progress = Callable[[str, int, int], None]
SPREAD = 0.1  # the training images' native pixels may differ by this share before a note is due


@dataclass
class Predicted:
    """What was done: number of points, of windows that an earlier try had finished, and what the user must see."""

    points: int
    resumed: int
    notes: list[str] = field(default_factory=list)


def predict_slide(
    model: Path,
    image: Path,
    output: Path,
    grid: str | None = None,
    spots: Path | None = None,
    microns_per_pixel: float | None = None,
    weights: Mapping[str, Weights] | None = None,
    device: str = "auto",
    runtime: str = "auto",
    progress: Progress | None = None,
    form: Form = "h5ad",
    resolution: str | None = None,
    genes: Sequence[str] = (),
) -> Predicted:
    """Predict the genes of a model's panel over an image and write them to `output`, an `.h5ad` or a SpatialData store.

    Memory: one window of points (40 x 40), the kept tiles and the overview, whatever the slide's size; a JPEG or PNG is
    decoded whole. A killed run goes on with the windows that it had not finished.

    Args:
        model: the folder of a fitted model.
        image: the slide.
        output: where to write.
        grid: distance of points, "200um" or "290px"; give this, `spots` or `resolution`.
        spots: CSV with columns spot, x, y in pixels of the image.
        microns_per_pixel: of the image; else what its file states. Never guessed.
        weights: of encoders, where the model was fitted with other than the default ones.
        device: "auto", "cpu" or "cuda".
        runtime: what computes the features, see `machine.choose_runtime`.
        progress: called with (what, done, total).
        form: "h5ad" or "zarr", or "ome-tiff" with `resolution`.
        resolution: distance of the points of a map finer than spots, "8um" or "12px", of methods that give one.
        genes: channels of an OME-TIFF; the whole panel if empty.

    Raises:
        ConfigurationError: none or several of grid, spots and resolution, a method that gives no finer map, an unknown scale,
            other encoder weights than the model's.
        DataError: an unreadable image, no tissue, spots outside.
        MethodError: no model, or predictions that are not finite.
    """
    if sum(where is not None for where in (grid, spots, resolution)) != 1:
        raise ConfigurationError(
            "Say where to predict: give either --grid, for example 200um, or --spots CSV, or --resolution 8um."
        )
    if form == "ome-tiff" and resolution is None:
        raise ConfigurationError("--format ome-tiff is of maps: give --resolution, for example 8um, or leave it out.")
    check_output(output, form)
    fitted = load_model(model, weights or {}, device, runtime)
    if resolution is not None:
        fitted = _finer(fitted)
    opened = open_image(image)
    scale, notes = _scale(opened, microns_per_pixel, fitted, image.name)
    window = _window(fitted, scale, notes)
    small = overview(opened)
    if grid is not None:
        points = grid_points(opened.size, parse_length(grid, scale), window, small)
    elif resolution is not None:
        points = _fine_points(opened.size, resolution, scale, small)
    else:
        assert spots is not None
        points = listed_points(spots, opened.size)
    how = {} if fitted.method.evaluation == EXACT else {"evaluation": fitted.method.evaluation}
    identity = canonical_hash(
        {
            "qbench": __version__,
            "model": fitted.hash,
            "encoders": {key: spec.identity() for key, spec in fitted.encoders.items()},
            "image": image_hash(image, ArrayCache().root),
            "window": window,
            "names": points.names,
            "points": points.pixel_xy.tolist(),
            **({} if resolution is None else {"finer": True}),
            **how,
        }
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    parts = Parts(output, identity)
    treat = _treatment(fitted, opened, window, points, image.name)
    store = (
        WindowStore(fitted, opened, window, treat)
        if resolution is None
        else FineStore(fitted, opened, window, points.step, treat)
    )
    resumed = _predict_windows(fitted, store, points, parts, progress)
    if form == "ome-tiff":
        panel = fitted.record.panel.genes
        write_raster(output, parts, points, opened.size, panel, genes or panel, scale)
        return Predicted(len(points), resumed, [*notes, *opened.notes])
    about = {**describe(fitted.record, fitted.record.patch, scale, image.name, fitted.hash), **how}
    clipped = write_output(output, form, parts, points, fitted.record, small, about, window)
    if clipped:
        notes.append(f"{clipped} predicted counts above 2^31 were clipped.")
    return Predicted(len(points), resumed, [*notes, *opened.notes])


def _finer(model: FittedModel) -> FittedModel:
    """The model with what it reads for a map finer than spots."""
    inputs = model.method.fine_inputs(model.method.parameters)
    if inputs is None:
        raise ConfigurationError(
            f"{model.record.method} predicts spots, and no map finer than they are; leave out --resolution and give --grid, "
            "or fit istar or xfuse."
        )
    return replace(model, inputs=inputs)


def _fine_points(size: tuple[int, int], resolution: str, scale: float | None, small: Overview) -> Points:
    step = parse_length(resolution, scale, "--resolution")
    if step < 1:
        raise ConfigurationError(
            f"--resolution {resolution} is {step:.2g} pixels of this image, finer than its pixels; give at least 1px"
            f"{'' if scale is None else f', {scale:.3g}um'}."
        )
    return grid_points(size, step, step, small)


def _scale(image: Image, given: float | None, model: FittedModel, name: str) -> tuple[float | None, list[str]]:
    stated = [] if image.scale is None else [replace(image.scale, source=f"{image.scale.source} in {name}")]
    firm = None if given is None else Stated(given, "--microns-per-pixel", "you stated it")
    if not stated and firm is None and model.record.microns_per_pixel is not None:
        raise ConfigurationError(
            f"{name} does not state its microns per pixel, and the model learned from patches at "
            f"{model.record.microns_per_pixel:.3g}; give --microns-per-pixel."
        )
    try:
        taken, notes = settle(name, stated, firm)
    except DataError as error:
        if firm is None:
            raise
        raise ConfigurationError(str(error)) from error
    if taken is None:
        return None, []
    return taken.microns, list(notes) or [f"{taken.microns:.4g} microns per pixel, as {taken.source} says."]


def _window(model: FittedModel, scale: float | None, notes: list[str]) -> int:
    """Edge in slide pixels of what becomes one patch, at the magnification that the model learned from."""
    record = model.record
    due = record.microns_per_pixel
    if due is None or scale is None:
        notes.append("The model's training images state no scale, so patches are cut in native pixels.")
        return record.patch.size
    spread = record.native_microns
    if record.patch.microns_per_pixel is None and spread and spread[2] / spread[0] > 1 + SPREAD:
        notes.append(
            f"The model learned from native pixels of {spread[0]:.2f} to {spread[2]:.2f} microns; patches are cut at "
            f"their median, {spread[1]:.2f}. Fit with --microns-per-pixel to settle it."
        )
    return max(1, round(record.patch.size * due / scale))


def _treatment(model: FittedModel, image: Image, window: int, points: Points, name: str) -> Treatment:
    """How patches of this slide are treated, as the model's were: stains are fitted on patches all over its points."""
    patch = model.record.patch
    corners = np.rint(points.pixel_xy[sampled(len(points))]).astype(np.int64) - window // 2
    return fit_treatment(patch.stain, lambda: np.stack(list(read_patches(image, corners, window, patch.size))), name)


def _predict_windows(
    model: FittedModel, store: WindowStore | FineStore, points: Points, parts: Parts, progress: Progress | None
) -> int:
    total = int(points.windows.max()) + 1
    resumed = done = 0
    say = predict_fine if isinstance(store, FineStore) else predict
    # What weights of another repository predict is theirs to say, and may lie below 0.
    clamped = model.record.target != "as trained"
    for number in range(total):
        rows = points.rows(number)
        if parts.done(number, (len(rows), len(model.record.panel.genes))):
            resumed += 1
        else:
            store.open(points.pixel_xy[rows])
            sealed = SealedSection(
                id="slide",
                patient="slide",
                genes=model.record.panel.genes,
                spots=tuple(points.names[i] for i in rows),
                array_xy=points.array_xy(rows),
                pixel_xy=points.pixel_xy[rows],
                microns_per_pixel=model.record.microns_per_pixel,
                labels=None,
                store=store,
            )
            parts.save(number, say(model.method, sealed, clamped))
        done += len(rows)
        if progress is not None:
            progress("points", done, len(points))
    return resumed
