from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from qbench.datasets.images import open_image
from qbench.datasets.scale import Stated, settle
from qbench.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
VIPS = (
    '<?xml version="1.0"?><image><properties><property><name>openslide.mpp-x</name>'
    '<value type="VipsRefString">0.2498</value></property></properties></image>'
)


def write(path: Path, **options: Any) -> Path:
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(128, 128), **{"metadata": None, **options})
    return path


def ome(size: float, unit: str | None) -> dict[str, Any]:
    named = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    return {"metadata": {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeY": size, **named}}


@pytest.mark.parametrize(
    ("name", "options", "due"),
    [
        ("a.tif", {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}, 0.5),
        ("a.tif", {"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ("a.tif", {"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer's 85 microns
        ("a.tif", {"resolution": (2, 2), "resolutionunit": "NONE"}, None),  # two pixels of nobody knows what
        ("a.tif", {}, None),
        ("a.ome.tif", ome(250.0, "nm"), 0.25),
        ("a.ome.tif", ome(0.25, "µm"), 0.25),
        ("a.ome.tif", ome(0.25, None), 0.25),
        ("a.ome.tif", ome(0.00025, "mm"), 0.25),
        ("a.ome.tif", ome(2.5e-7, "m"), 0.25),
        ("a.ome.tif", ome(2500.0, "Å"), 0.25),
        ("a.ome.tif", ome(0.25, "pixel"), None),
        ("a.ome.tif", ome(0.25, "reference frame"), None),
        ("a.svs", {"description": "Aperio Image Library v12\r\n256x256 |AppMag = 20|MPP = 0.4990|x"}, 0.499),
        ("a.svs", {"description": "Aperio Image Library v12\r\n256x256 |AppMag = 20|MPP = 0,4990|x"}, 0.499),
        ("a.tif", {"description": VIPS}, 0.2498),
        ("a.tif", {"description": "ImageJ=1.53t\nunit=micron\n", "resolution": (2, 2), "resolutionunit": "NONE"}, 0.5),
        (
            "a.tif",
            {"description": "ImageJ=1.53t\nunit=\\u00B5m\n", "resolution": (2, 2), "resolutionunit": "NONE"},
            0.5,
        ),
        ("a.tif", {"description": "ImageJ=1.53t\nunit=mm\n", "resolution": (2e3, 2e3), "resolutionunit": "NONE"}, 0.5),
        ("a.tif", {"description": "ImageJ=1.53t\nunit=pixel\n", "resolution": (2, 2), "resolutionunit": "NONE"}, None),
    ],
)
def test_microns_per_pixel_as_stated(tmp_path: Path, name: str, options: dict[str, Any], due: float | None) -> None:
    image = open_image(write(tmp_path / name, **options))
    assert (None if image.scale is None else image.scale.microns) == (None if due is None else pytest.approx(due))
    assert image.notes == ()


def test_a_file_that_contradicts_itself(tmp_path: Path) -> None:
    options = {**ome(0.25, "µm"), "resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    image = open_image(write(tmp_path / "a.ome.tif", **options))
    assert image.scale is not None
    assert image.scale.microns == 0.25  # PhysicalSizeX and Y against one
    assert "the TIFF's resolution says 0.5; 0.25 is taken" in image.notes[0]


@pytest.mark.parametrize(("size", "unit"), [(25.0, "µm"), (0.25, "mm"), (0.25, "nm")])
def test_a_scanner_s_statement_that_can_not_be(tmp_path: Path, size: float, unit: str) -> None:
    scale = open_image(write(tmp_path / "a.ome.tif", **ome(size, unit))).scale
    assert scale is not None
    with pytest.raises(DataError, match=r"a: expected 0.05 to 5 microns per pixel, but OME's PhysicalSizeX says"):
        settle("a", [scale])
    assert settle("a", [scale], Stated(0.5, "the card"))[0] == Stated(0.5, "the card")  # a user can state better
