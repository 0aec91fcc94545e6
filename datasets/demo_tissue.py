"""Simulated tissue: where its domains lie, how it is drawn, and what a spot of the array covers of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .stain import FIRST, Floats, Laboratory, Nuclei, Stain, Textures

PITCH = 150  # pixels between spots
SPOT_RADIUS = PITCH / 4  # a spot is half a pitch across
GRID = 11  # spots along each edge of the array, at array positions 2 to 12
SIDE = PITCH * (GRID + 1)  # pixels; array position 1 is pixel 0
DOMAINS = ("invasive cancer", "cancer in situ", "connective tissue", "immune infiltrate", "adipose tissue")
_COARSE, _FINE = 60, 300  # edge of the maps on which fields are drawn and domains decided
_SHARED = 0.9  # share of a field that neighbouring sections of a patient have in common

# Per domain: nuclei per pixel, mean half axis in pixels, elongation, eosin. The three cellular domains cover the same
# area with nuclei, so that a patch's mean colour cannot tell them apart but the size of its nuclei can.
_DENSITY = np.array([0.0031, 0.0050, 0.0014, 0.0120, 0.0003])
_RADIUS = np.array([6.0, 4.8, 3.4, 3.0, 3.0])
_STRETCH = np.array([1.2, 1.15, 2.2, 1.0, 1.8])
_EOSIN = np.array([0.42, 0.42, 0.75, 0.36, 0.04])
_FREQUENCY = np.array([0.35, 0.0, 0.25, -0.25, -0.5])  # added to the fields: how common a domain is
_SHARPNESS = 5.0


@dataclass(frozen=True)
class Patient:
    """What the sections of a patient share: fields of the domains (5, 60, 60) and of hidden programmes, and the stain."""

    domains: Floats
    hidden: Floats
    stain: Stain
    radii: tuple[float, float]  # of the tissue, in pitches


@dataclass(frozen=True)
class Tissue:
    """One section: share of each domain (5, 300, 300), hidden programmes (h, 60, 60), nuclei, and the tissue's outline."""

    share: Floats
    hidden: Floats
    nuclei: Nuclei
    inside: Floats


def draw_patient(
    rng: np.random.Generator, hidden: int, radii: tuple[float, float], laboratory: Laboratory = FIRST
) -> Patient:
    """A patient with `hidden` programmes that the image does not show, whose sections a laboratory stained."""
    frequency = _FREQUENCY + rng.normal(0, 0.2, len(DOMAINS))
    domains = _fields(rng, len(DOMAINS), 1.15) + frequency[:, None, None].astype(np.float32)
    return Patient(domains, _fields(rng, hidden, 1.5), Stain.draw(rng, laboratory), radii)


def draw_tissue(rng: np.random.Generator, patient: Patient, textures: Textures) -> Tissue:
    """A section of a patient: like its neighbour, but not the same."""
    fresh = np.sqrt(1 - _SHARED**2)
    domains = _SHARED * patient.domains + fresh * _fields(rng, len(DOMAINS), 1.15)
    hidden = _SHARED * patient.hidden + fresh * _fields(rng, len(patient.hidden), 1.5)
    logits = _SHARPNESS * np.stack([_resized(field, _FINE) for field in domains])
    share = np.exp(logits - logits.max(axis=0))
    share /= share.sum(axis=0)
    place = (np.arange(_FINE) + 0.5) / _FINE * SIDE
    wobble = 0.06 * _resized(_fields(rng, 1, 1.0)[0], _FINE)
    inside = (_outline(place[None, :], place[:, None], patient.radii) + wobble < 1.18).astype(np.float32)
    return Tissue(share, hidden, _draw_nuclei(rng, share * inside, textures), inside)


def on_tissue(x: NDArray[np.float64], y: NDArray[np.float64], patient: Patient) -> NDArray[np.bool_]:
    """Whether array positions lie on the tissue; plain arithmetic, so the same on every machine."""
    return np.asarray(_outline((x - 1) * PITCH, (y - 1) * PITCH, patient.radii) <= 1.0)


def draw_image(rng: np.random.Generator, tissue: Tissue, stain: Stain, textures: Textures) -> NDArray[np.uint8]:
    """The section as RGB uint8 (SIDE, SIDE, 3)."""
    warp = tuple(_resized(18 * field, SIDE) for field in _fields(rng, 2, 0.8))
    fibres = textures.spread(textures.fibres, (warp[0] * 3, warp[1] * 3), _shift(rng))
    grain = textures.spread(textures.grain, (warp[0], warp[1]), _shift(rng))
    wall = textures.repeated(textures.cell, SIDE)
    share = [_resized(part * tissue.inside, SIDE) for part in tissue.share]
    eosin = sum((np.float32(_EOSIN[d]) * part for d, part in enumerate(share)), np.zeros_like(grain))
    eosin *= 1 + 0.12 * grain
    eosin += share[2] * 0.25 * fibres  # bundles of collagen
    eosin += share[4] * np.where(wall < 1.6, np.float32(0.5), np.float32(0))  # membranes of fat cells
    eosin += share[1] * np.where(wall < 4, np.float32(0.25), np.float32(0))  # rims of ducts
    haematoxylin = np.zeros_like(eosin)
    tissue.nuclei.draw(haematoxylin)
    haematoxylin *= 1 + 0.15 * grain
    np.clip(eosin, 0, None, out=eosin)
    return stain.colour(haematoxylin, eosin)


def at_spots(
    tissue: Tissue, pixel_xy: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What each spot covers: nuclei of each domain (n, 5), share of each domain (n, 5), hidden programmes (n, h)."""
    from scipy.ndimage import map_coordinates
    from scipy.spatial import cKDTree

    cells = np.zeros((len(pixel_xy), len(DOMAINS)))
    trees = (cKDTree(tissue.nuclei.xy[tissue.nuclei.domain == d].reshape(-1, 2)) for d in range(len(DOMAINS)))
    for d, tree in enumerate(trees):
        cells[:, d] = tree.query_ball_point(pixel_xy, SPOT_RADIUS, return_length=True)

    def sample(maps: Floats) -> NDArray[np.float64]:
        at = pixel_xy[:, ::-1].T / SIDE * maps.shape[-1] - 0.5
        return np.stack([map_coordinates(one, at, order=1, mode="nearest") for one in maps], axis=1).astype(np.float64)

    return cells, sample(tissue.share), sample(tissue.hidden)


def _draw_nuclei(rng: np.random.Generator, share: Floats, textures: Textures) -> Nuclei:
    """A Poisson process thinned to the density of the domain at each place; in situ, nuclei keep away from duct walls."""
    n = rng.poisson(_DENSITY.max() * SIDE**2)
    xy = rng.uniform(0, SIDE, (n, 2))
    cell = (xy / SIDE * _FINE).astype(np.intp)
    here = share[:, cell[:, 1], cell[:, 0]] * _DENSITY[:, None] / _DENSITY.max()
    in_tile = xy.astype(np.intp) % textures.cell.shape[0]
    here[1] *= np.where(textures.cell[in_tile[:, 1], in_tile[:, 0]] > 5, 1.3, 0.0)
    domain = (rng.uniform(size=n) > np.cumsum(here, axis=0)).sum(axis=0)
    kept = domain < len(DOMAINS)
    domain, xy = domain[kept], xy[kept]
    n = len(domain)
    radius = _RADIUS[domain] * np.exp(rng.normal(0, 1, n) * np.where(domain == 0, 0.22, 0.1))
    stretch = np.sqrt(_STRETCH[domain] * np.exp(rng.normal(0, 0.1, n)))
    axes = np.clip(np.stack([radius * stretch, radius / stretch], axis=1), 1.2, 11)
    return Nuclei(xy, axes, rng.uniform(0, np.pi, n), rng.normal(0.95, 0.12, n).clip(0.5, 1.4), domain)


def _outline(x: NDArray[np.float64], y: NDArray[np.float64], radii: tuple[float, float]) -> NDArray[np.float64]:
    """An ellipse round the middle: below 1 inside."""
    middle = SIDE / 2
    return ((x - middle) / (radii[0] * PITCH)) ** 2 + ((y - middle) / (radii[1] * PITCH)) ** 2


def _fields(rng: np.random.Generator, n: int, length: float) -> Floats:
    """Smooth Gaussian random fields (n, 60, 60) over the image, mean 0, sd 1, correlated over `length` pitches."""
    from scipy.ndimage import gaussian_filter

    sigma = length * PITCH / SIDE * _COARSE / np.sqrt(2)
    margin = int(2 * sigma)
    noise = rng.standard_normal((n, _COARSE + 2 * margin, _COARSE + 2 * margin))
    smooth: Floats = gaussian_filter(noise, (0, sigma, sigma), mode="wrap")
    smooth = (smooth / smooth.std(axis=(1, 2), keepdims=True))[:, margin:-margin, margin:-margin]
    return smooth.astype(np.float32)


def _resized(field: Floats, side: int) -> Floats:
    import PIL.Image

    return np.asarray(PIL.Image.fromarray(field.astype(np.float32)).resize((side, side), PIL.Image.Resampling.BILINEAR))


def _shift(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1 << 16)), int(rng.integers(1 << 16))
