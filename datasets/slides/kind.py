"""What an image file is, by its first bytes; what is not read is named in one sentence with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...errors import DataError
from ..hashing import canonical_hash, file_sha256

Kind = Literal["jpeg", "tiff", "vendor", "other"]

VERSION = 1  # raised when the same slide would give other pixels; JPEG, PNG and kin never do
HEAD = 4096  # bytes that tell a format
MIRAX = "Slidedat.ini"  # in the folder beside a .mrxs file, which itself is a thumbnail
_JPEG, _HDF5 = b"\xff\xd8\xff", b"\x89HDF\r\n\x1a\n"
_PILLOW = (b"\x89PNG", b"GIF8", b"BM", b"RIFF")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CONVERT = "convert it to OME-TIFF, for example with 'bfconvert -series 0 {name} {stem}.ome.tif' (Bio-Formats)"
_EXPORT = "export its brightfield image as OME-TIFF, for example with QuPath"
_AGAIN = "fetch the image itself again"
# Formats that are not read: where their mark lies, the mark, the format's name and what to do.
_REFUSED: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"ZISRAWFILE", "a Zeiss CZI slide", _CONVERT),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2 file", _CONVERT),
    (0, b"\x70\x00\x00\x00", "a Leica LIF file", _CONVERT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file (Zeiss ZVI, Olympus OIB)", _CONVERT),
    (0, _HDF5, "an HDF5 file", "give the image that it was made from"),
    (0, b"SIS\0", "an Olympus ETS file, a part of a VSI slide", _CONVERT),
    (0, b"[NanoZoomer Digital Pathology Image Set]", "the list of a fluorescence slide (Hamamatsu NDPIS)", _EXPORT),
    (0, b"[Uncompressed Virtual Microscope Specimen]", "a Hamamatsu VMU slide of 16 bits", _CONVERT),
    (0, b"<ImageList", "the list of a fluorescence slide (Aperio AFI)", _EXPORT),
    (0, b'<?xml version="1.0"?>\n<ImageList', "the list of a fluorescence slide (Aperio AFI)", _EXPORT),
    (0, b"<DataObject ObjectType=\"DPUfsImport\"", "a Philips iSyntax slide", "export it as TIFF with Philips' own tools"),
    (0, b"%PDF", "a PDF", "export the image in it as TIFF or PNG"),
    (0, b"PK\x03\x04", "a zip archive", "unpack it"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it"),
    (0, b"version https://git-lfs", "a Git LFS pointer instead of an image", "fetch it with 'git lfs pull'"),
    (0, b"<!DOCTYPE", "a web page instead of an image", _AGAIN),
    (0, b"<!doctype", "a web page instead of an image", _AGAIN),
    (0, b"<html", "a web page instead of an image", _AGAIN),
)  # fmt: skip


def kind_of(path: Path) -> Kind:
    """How a file is read: as a JPEG, as TIFF, by OpenSlide ("vendor"), or by Pillow ("other").

    Raises:
        DataError: no such file, not a regular one, or a format that is not read: says which, and how to convert it.
    """
    head = _head(path)
    ending, stem = path.suffix.lower(), path.stem
    beside = path.with_suffix("")
    if ending == ".mrxs":
        if not (beside / MIRAX).is_file():
            raise refused(
                path,
                "the thumbnail of a 3DHISTECH MRXS slide without its data folder",
                f"copy the folder {stem} beside it, or {_CONVERT} where the slide is whole",
            )
        return "vendor"
    if (beside / MIRAX).is_file():
        raise refused(path, "the thumbnail of a 3DHISTECH MRXS slide", f"name the file {stem}.mrxs")
    if ending == ".vsi" or any(path.with_name(f"_{stem}_").rglob("*.ets")):
        raise refused(path, "the thumbnail of an Olympus VSI slide, whose pixels lie in the folder beside it", _CONVERT)
    for offset, mark, name, way_out in _REFUSED:
        if head[offset:].startswith(mark):
            raise refused(path, name, way_out)
    if head.startswith(_JPEG):
        return "jpeg"
    if head.startswith(_PILLOW):
        return "other"
    import openslide

    vendor = openslide.OpenSlide.detect_format(path)
    if head.startswith(_TIFF):
        # A plain tiled TIFF is read by tifffile, which gives the same pixels in less than half the time.
        return "tiff" if vendor in (None, "generic-tiff") or not _opens(path) else "vendor"
    if vendor is not None:
        return "vendor"
    if head[128:132] == b"DICM":
        raise refused(path, "DICOM that is no brightfield whole-slide image", "give the .dcm of the slide's volume")
    if head.startswith(b"[Virtual Microscope Specimen]"):
        raise refused(path, "the list of a Hamamatsu VMS slide without its images", "copy the whole folder")
    return "other"


def slide_files(path: Path) -> tuple[Path, ...]:
    """The files that a slide's pixels come from, the named one first: some formats keep them beside it."""
    head = _head(path)
    if path.suffix.lower() == ".mrxs":
        others = sorted(one for one in path.with_suffix("").rglob("*") if one.is_file())
    elif head.startswith(b"[Virtual Microscope Specimen]"):
        named = {line.partition("=")[2].strip() for line in path.read_text("utf-8", "replace").splitlines()}
        others = sorted(path.parent / name for name in named if name and (path.parent / name).is_file())
    elif head[128:132] == b"DICM":
        others = sorted(one for one in path.parent.iterdir() if one.is_file() and _head(one)[128:132] == b"DICM")
    else:
        others = []
    return (path, *(one for one in others if one != path))


def image_hash(path: Path, cache_root: Path) -> str:
    """Hash of all that an image's pixels come from: its file, or the files of a slide and how they are read.

    Raises:
        DataError: a file that cannot be read, or is no regular one.
    """
    files = slide_files(path)
    if len(files) == 1 and _head(path).startswith((_JPEG, *_PILLOW, _HDF5)):
        return file_sha256(path, cache_root)
    return canonical_hash({"slides": VERSION, "files": [file_sha256(each, cache_root) for each in files]})


def refused(path: Path, found: str, way_out: str) -> DataError:
    """The sentence on a file that is not read."""
    return DataError(
        f"Expected an H&E image of 8-bit RGB in {path}, found {found}; "
        f"{way_out.format(name=path.name, stem=path.name.partition('.')[0])}."
    )


def _opens(path: Path) -> bool:
    """Whether OpenSlide reads a slide of a vendor that it knows: strips or some compressions it leaves to others."""
    import openslide

    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideError:
        return False
    return True


def _head(path: Path) -> bytes:
    if not path.exists():
        raise DataError(f"Expected an image in {path}, but there is no such file; mend the path.")
    if not path.is_file():
        raise DataError(f"Expected an image in {path}, found no regular file; give the image's own file.")
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise DataError(f"Expected an image in {path}, but {error.strerror or error}; check the file.") from error
