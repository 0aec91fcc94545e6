from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from qbench.datasets import images
from qbench.datasets.images import open_image
from qbench.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray = PIXELS, **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_regions_of_an_image(tmp_path: Path, name: str) -> None:
    image = open_image(save(tmp_path / name))
    assert image.size == (60, 40)
    np.testing.assert_array_equal(image.read(0, 0, 60, 40), PIXELS)
    np.testing.assert_array_equal(image.read(7, 3, 5, 4), PIXELS[3:7, 7:12])


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG"])
def test_a_jpeg_decodes_as_pillow_does(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, quality=90)
    image = open_image(path)
    assert image.size == (60, 40)
    expected = np.asarray(PIL.Image.open(path)).astype(int)
    assert np.abs(image.read(0, 0, 60, 40) - expected).max() <= 1


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.jpg", PIXELS[..., 0], quality=95)
    assert open_image(grey).read(0, 0, 60, 40).shape == (40, 60, 3)
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(open_image(save(tmp_path / "alpha.png", opaque)).read(0, 0, 60, 40), PIXELS)


def test_the_size_is_known_without_decoding(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        image = open_image(path)
        assert image.size == (60, 40)
        with pytest.raises(DataError, match=f"Expected a readable image in .*{name}"):
            image.read(0, 0, 4, 4)


def test_no_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        with pytest.raises(DataError, match=name):
            open_image(tmp_path / name)
        (tmp_path / name).write_bytes(b"<html>not found</html>")
        with pytest.raises(DataError, match=name):
            open_image(tmp_path / name)


def test_modes_that_need_a_choice(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="a JPEG of CMYK colours; convert it"):
        open_image(tmp_path / "a.jpg")
    PIL.Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a PNG of 16 bits a channel; convert it"):
        open_image(tmp_path / "a.png")


def test_sixteen_bits_of_three_colours_are_not_cut_to_eight(tmp_path: Path) -> None:
    import imagecodecs

    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257))
    with pytest.raises(DataError, match="a PNG of 16 bits a channel; convert it"):
        open_image(tmp_path / "a.png")


def jpeg(**options: object) -> bytes:
    data = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(data, "JPEG", quality=90, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("warned", "says"),
    [
        (lambda data: data.replace(b"\xff\xdb", b"spare bytes\xff\xdb", 1), "11 extraneous bytes before marker 0xdb"),
        (lambda data: data[:-2] + bytes(range(20)) + data[-2:], "extraneous bytes before marker 0xd9"),
    ],
)
def test_a_jpeg_that_viewers_open_is_opened_with_a_note(
    tmp_path: Path, warned: Callable[[bytes], bytes], says: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(warned(jpeg()))
    image = open_image(tmp_path / "a.jpg")
    image.decode_all()
    assert (image.read(0, 0, 60, 40) == np.asarray(PIL.Image.open(io.BytesIO(jpeg())))).all()
    assert len(image.notes) == 1
    assert says in image.notes[0]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0"}])
def test_a_sound_jpeg_has_no_note(tmp_path: Path, options: dict[str, object]) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(**options) + b"after the end")
    image = open_image(tmp_path / "a.jpg")
    image.decode_all()
    assert image.notes == ()


@pytest.mark.parametrize("broken", [lambda data: data[:-200], lambda data: data[:900] + b"\xff\xd9" + data[900:]])
def test_lost_pixels_are_an_error(tmp_path: Path, broken: Callable[[bytes], bytes]) -> None:
    (tmp_path / "a.jpg").write_bytes(broken(jpeg()))
    with pytest.raises(DataError, match="remature end"):
        open_image(tmp_path / "a.jpg").decode_all()


@pytest.mark.parametrize("name", ["a.tif", "a.svs", "a.jpg", "A.PNG", "a"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_the_first_bytes_decide_not_the_name(tmp_path: Path, name: str, form: str) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / name, form)
    found = open_image(tmp_path / name).read(0, 0, 60, 40)
    assert (found == np.asarray(PIL.Image.open(tmp_path / name))).all()


@pytest.mark.parametrize(
    ("name", "options", "due"),
    [
        ("a.png", {"dpi": (50_800, 50_800)}, 0.5),
        ("a.jpg", {"dpi": (50_800, 50_800)}, 0.5),
        ("a.png", {"dpi": (72, 72)}, None),
        ("a.jpg", {"dpi": (300, 300)}, None),
        ("a.png", {}, None),
    ],
)
def test_a_resolution_is_a_scale_where_it_can_be_one(
    tmp_path: Path, name: str, options: dict[str, object], due: float | None
) -> None:
    scale = open_image(save(tmp_path / name, **options)).scale
    assert (None if scale is None else round(scale.microns, 4)) == due


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / "a.png"), save(tmp_path / "a.jpg")]
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    for path in paths:
        with pytest.raises(DataError, match="its header states 60 x 40"):
            open_image(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 2400)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1199)  # Pillow refuses twice this
    with pytest.raises(DataError, match=r"bomb.*; write it as a tiled TIFF"):
        open_image(paths[0])
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1201)
    assert open_image(paths[0]).size == (60, 40)


def test_text_in_a_png_that_swells_beyond_reason_and_formats_that_run_programs(tmp_path: Path) -> None:
    chunk = b"zTXt" + b"a\0\0" + zlib.compress(b"x" * (1 << 25))
    png = tmp_path / "a.png"
    PIL.Image.new("RGB", (4, 4)).save(png)
    head, rest = png.read_bytes()[:33], png.read_bytes()[33:]
    png.write_bytes(head + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + rest)
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    for path in (png, tmp_path / "a.eps"):
        with pytest.raises(DataError, match=f"Expected a readable image in .*{path.name}"):
            open_image(path).read(0, 0, 1, 1)
