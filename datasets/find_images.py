"""The image that belongs to a section, by its name."""

from __future__ import annotations

from pathlib import Path

IMAGES = (  # the preferred first; what is not read is found, too, and refused with its conversion
    *(".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm"),
    *(".ome.tif", ".ome.tiff", ".ome.btf", ".tif", ".tiff", ".btf", ".jpg", ".jpeg", ".png"),
    *(".qptiff", ".czi", ".vsi", ".jp2", ".bmp"),
)


def image_of(folder: Path, name: str) -> str | None:
    """An image of the section's name, beside its file or in `images`."""
    found = first_image(folder, name) or first_image(folder / "images", name)
    return None if found is None else found.relative_to(folder).as_posix()


def first_image(folder: Path, name: str) -> Path | None:
    """The image of that name, whatever the case of its ending."""
    if not folder.is_dir():
        return None
    by_ending = {
        path.name[len(name) :].lower(): path for path in sorted(folder.iterdir()) if path.name.startswith(f"{name}.")
    }
    return next((by_ending[ending] for ending in IMAGES if ending in by_ending), None)
