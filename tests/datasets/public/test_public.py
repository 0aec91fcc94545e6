"""Public datasets in their authors' layout: served here, fetched, verified and opened by the command line."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.datasets import registry
from qbench.datasets.cache import ArrayCache
from qbench.datasets.fetched import RECORD
from qbench.datasets.registry import DatasetCard, open_dataset
from qbench.errors import ConfigurationError, DataError, IntegrityError
from typer.testing import CliRunner

from ...support.datasets_sections import counts, write_h5ad, write_visium
from ...support.http_server import Server, serving
from ...support.slide_images import stained

server = pytest.fixture(serving)
Local = Callable[..., DatasetCard]
ENSEMBL = ("ENSG00000141736", "ENSG00000108821", "ENSG00000019582", "ENSG00000171345", "ENSG00000999999")
SYMBOLS = ("ERBB2", "COL1A1", "CD74", "KRT19", "ENSG00000999999")
NAMES = ("cscc", "dlpfc", "hest", "stnet", "visium-breast")


@pytest.fixture
def local(server: Server, monkeypatch: pytest.MonkeyPatch) -> Local:
    """Let a shipped card name this machine's server instead of its hosts; keywords replace parts of it."""
    shipped, cards = registry._shipped_card, {}

    def serve(name: str, **changes: Any) -> DatasetCard:
        text = registry._FOLDER.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        parts = yaml.safe_load(re.sub(r"https?://[^/\s']+", server.url, text))
        cards[name] = DatasetCard.model_validate(parts | changes)
        return cards[name]

    monkeypatch.setattr(registry, "_shipped_card", lambda name: cards.get(name) or shipped(name))
    return serve


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def fetch_twice(server: Server, *arguments: object) -> str:
    """Fetch; a second time nothing is asked for, for every checksum was recorded."""
    said = run("fetch", *arguments)
    server.asked.clear()
    again = run("fetch", *arguments)
    assert "every file has its recorded checksum" in again
    assert server.asked == []
    return said


def text_gz(text: str) -> bytes:
    return gzip.compress(text.encode())


def jpeg(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(stained(width, height)).save(out, format="JPEG", quality=95)
    return out.getvalue()


def array_spots() -> list[tuple[int, int]]:
    return [(x, y) for y in range(10, 14) for x in range(5, 9)]


def counts_table(values: np.ndarray, genes: tuple[str, ...]) -> str:
    spots = [f"{x}x{y}" for x, y in array_spots()]
    return str(pd.DataFrame(values, index=spots, columns=list(genes)).to_csv(sep="\t", lineterminator="\n"))


# --- ST-Net ---------------------------------------------------------------------------------------------------------------


def stnet_zip(
    sections: dict[str, int], folder: str = "Human breast cancer in situ capturing transcriptomics/"
) -> bytes:
    """Mendeley's zip of some sections (name -> seed); of the 16 spots of each array 12 lie under tissue."""
    rows, out = [], io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for section, seed in sections.items():
            patient, replicate = section.split("_")
            other = patient.replace("BC", "BT")  # prefixes mix, so metadata.csv alone tells
            names = [f"HE_{other}_{replicate}.jpg", f"spots_{other}_{replicate}.csv.gz"]
            names += [f"{section}_Coords.tsv.gz", f"{section}_stdata.tsv.gz"]
            rows.append(["Luminal_A", replicate, patient, *names])
            under = array_spots()[:12]
            spots = "".join(f"{x}x{y},{100 + 290 * (x - 5)},{120 + 290 * (y - 10)}\n" for x, y in under)
            coords = [
                f"{replicate}_{x}_{y}\t{x + 0.04}\t{y - 0.03}\tL2\t{'tumor' if x < 7 else 'non'}" for x, y in under
            ]
            bodies = (
                jpeg(1200, 900),
                text_gz(",X,Y\n" + spots),
                text_gz("\r".join(["xcoord\tycoord\tlab\ttumor", *coords]) + "\r"),
                text_gz(counts_table(counts(16, 5, seed), ENSEMBL)),
            )
            for name, body in zip(names, bodies, strict=True):
                file.writestr(folder + name, body)
        head = [
            "type",
            "replicate",
            "patient",
            "histology_image",
            "spot_coordinates",
            "tumor_annotation",
            "count_matrix",
        ]
        file.writestr(folder + "metadata.csv", pd.DataFrame(rows, columns=head).to_csv(index=False))
    return out.getvalue()


HGNC = "hgnc_id\tsymbol\tname\tensembl_gene_id\n" + "".join(
    f'HGNC:{i}\t{symbol}\t"a gene, named"\t{name}\n'
    for i, (name, symbol) in enumerate(zip(ENSEMBL[:4], SYMBOLS[:4], strict=True))
)


def serve_stnet(server: Server, sections: dict[str, int]) -> None:
    server.files["29ntw7sh4r-5.zip"] = stnet_zip(sections)
    quarter = "hgnc_complete_set_2024-10-01.txt"
    server.files[f"public-download-files/hgnc/archive/archive/quarterly/tsv/{quarter}"] = HGNC.encode()


def test_stnet(server: Server, local: Local, tmp_path: Path) -> None:
    card = local("stnet")
    serve_stnet(server, {"BC23287_C1": 1, "BC23567_D2": 2})
    said = fetch_twice(server, "stnet", "--to", tmp_path / "to")
    assert f"recorded in {RECORD} now" in said
    said = run("verify", "stnet", "--data-dir", tmp_path / "to")
    assert "2 sections are sound" in said
    assert "10 fetched files have their recorded sha256" in said
    assert "Markers that no section has: GRB7" in said
    dataset = open_dataset("stnet", tmp_path / "to", ArrayCache())
    assert dataset.card is card
    assert {info.id: info.patient for info in dataset.sections} == {"BC23287_C1": "BC23287", "BC23567_D2": "BC23567"}
    section = dataset.load("BC23287_C1")
    assert section.genes == SYMBOLS
    assert (section.counts.toarray() == counts(16, 5, 1)[:12]).all()
    assert section.spots[:2] == ("5x10", "6x10")
    assert section.array_xy[:2].tolist() == [[5, 10], [6, 10]]
    assert section.pixel_xy is not None
    assert section.pixel_xy[:2].tolist() == [[100, 120], [390, 120]]
    assert section.microns_per_pixel == pytest.approx(200 / 290)
    assert section.spot_diameter == pytest.approx(145)
    assert section.labels is not None
    assert section.labels[:4] == ("tumor", "tumor", "non", "non")
    assert section.image == tmp_path / "to" / "HE_BT23287_C1.jpg"
    assert "4 spots of the array are not under tissue and are left out" in section.notes


def test_stnet_of_a_folder_that_somebody_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(stnet_zip({"BC23287_C1": 1}))) as file:
        file.extractall(tmp_path)
    (inner,) = tmp_path.iterdir()
    for path in list(inner.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    section = open_dataset("stnet", tmp_path, ArrayCache()).load("BC23287_C1")
    assert section.genes == ENSEMBL  # no table of symbols
    assert any("keep their Ensembl ids" in note for note in section.notes)
    metadata = inner / "metadata.csv"
    metadata.write_text(metadata.read_text().replace("C1,BC23287", "C1,BC23450"))
    assert open_dataset("stnet", tmp_path, ArrayCache()).sections[0].id == "BC23450_C1"
    with pytest.raises(DataError, match="qbench data fetch stnet"):
        open_dataset("stnet", tmp_path / "none", ArrayCache())
    with pytest.raises(DataError, match="qbench data fetch stnet"):
        open_dataset("stnet", None, ArrayCache())


def test_a_message_in_place_of_the_zip_is_no_zip(server: Server, local: Local, tmp_path: Path) -> None:
    local("stnet")
    serve_stnet(server, {"BC23287_C1": 1})
    whole = server.files["29ntw7sh4r-5.zip"]
    server.files["29ntw7sh4r-5.zip"] = b'{"error": "busy"}'
    with pytest.raises(DataError, match=r"Expected a zip or tar archive from .*found something else; try again later"):
        run("fetch", "stnet", "--to", tmp_path / "to")
    server.kinds["29ntw7sh4r-5.zip"] = "application/json; charset=utf-8"
    with pytest.raises(DataError, match=r"the server sent a message \(application/json\) instead of the file"):
        run("fetch", "stnet", "--to", tmp_path / "to")
    server.files["29ntw7sh4r-5.zip"], server.kinds = whole, {}
    assert "fetched" in run("fetch", "stnet", "--to", tmp_path / "to")


def test_who_is_in_both_stnet_and_her2st_is_on_one_side(tmp_path: Path) -> None:
    def plan(patients: tuple[str, ...]) -> None:
        entries = []
        for i, patient in enumerate(patients):
            write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i) + 20, spatial=np.arange(24.0).reshape(12, 2) ** 1.5)
            entries.append({"id": f"S{i}", "patient": patient, "file": f"S{i}.h5ad"})
        card = {"name": "both", "title": "Both", "simulated": False, "reader": "h5ad", "sections": entries}
        (tmp_path / "both.yaml").write_text(yaml.safe_dump(card))
        arguments = ["run", "--methods", "mean", "--dataset", tmp_path / "both.yaml", "--no-images", "--dry-run"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None:
            raise result.exception

    plan(("A", "E", "F", "G"))  # names of one of the two alone
    with pytest.raises(
        IntegrityError, match=r"patient BC23810 .* of stnet may be patient F .* of her2st: BC23567, BC23810"
    ):
        plan(("A", "BC23810", "F", "B"))


# --- squamous cell carcinoma ----------------------------------------------------------------------------------------------


def test_cscc(server: Server, local: Local, tmp_path: Path) -> None:
    local("cscc")
    genes, out = ("KRT5", "KRT1", "MMP10", "COL1A1", "CD74"), io.BytesIO()
    under = array_spots()[:12]
    place = "".join(f"{x}\t{y}\t{x + 0.1}\t{y}\t{80 + 240 * (x - 5)}\t{90 + 240 * (y - 10)}\n" for x, y in under)
    with tarfile.open(fileobj=out, mode="w") as file:
        for number, name in ((4284316, "P2_ST_rep1"), (4284323, "P9_ST_rep2")):
            for member, body in (
                (f"GSM{number}_{name}.jpg.gz", gzip.compress(jpeg(1000, 800))),
                (f"GSM{number}_{name}_stdata.tsv.gz", text_gz(counts_table(counts(16, 5, number), genes))),
                (
                    f"GSM{number}_spot_data-selection-{name}.tsv.gz",
                    text_gz("x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\n" + place),
                ),
                (f"GSM{number}_P2_cells.csv.gz", text_gz("of another part of the series")),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(body)
                file.addfile(info, io.BytesIO(body))
    server.files["geo/series/GSE144nnn/GSE144240/suppl/GSE144240_RAW.tar"] = out.getvalue()
    fetch_twice(server, "cscc", "--to", tmp_path / "to")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [
        "GSM4284316_P2_ST_rep1.jpg",
        "GSM4284316_P2_ST_rep1_stdata.tsv.gz",
        "GSM4284316_spot_data-selection-P2_ST_rep1.tsv.gz",
        "GSM4284323_P9_ST_rep2.jpg",
        "GSM4284323_P9_ST_rep2_stdata.tsv.gz",
        "GSM4284323_spot_data-selection-P9_ST_rep2.tsv.gz",
        RECORD,
    ]
    assert "2 sections are sound" in run("verify", "cscc", "--data-dir", tmp_path / "to")
    dataset = open_dataset("cscc", tmp_path / "to", ArrayCache())
    assert {info.id: info.patient for info in dataset.sections} == {"P2_ST_rep1": "P2", "P9_ST_rep2": "P9"}
    section = dataset.load("P9_ST_rep2")
    assert section.genes == genes
    assert (section.counts.toarray() == counts(16, 5, 4284323)[:12]).all()
    assert section.microns_per_pixel == pytest.approx(150 / 240)
    assert section.spot_diameter == pytest.approx(110 / 150 * 240)
    assert section.array_xy[0].tolist() == [5.1, 10]
    image = tmp_path / "to" / "GSM4284316_P2_ST_rep1.jpg"
    image.with_name(f"{image.name}.gz").write_bytes(gzip.compress(image.read_bytes()))
    image.unlink()
    with pytest.raises(DataError, match="unpack it with gunzip"):
        open_dataset("cscc", tmp_path / "to", ArrayCache())


# --- HEST-1k --------------------------------------------------------------------------------------------------------------


def hest_sample(folder: Path, sample: str, **metadata: object) -> dict[str, bytes]:
    """A sample's files by their path: eight of its twelve spots have a patch."""
    xy = np.array([[150.0 + 100 * (i % 4), 150.0 + 100 * (i // 4)] for i in range(12)])
    write_h5ad(folder / f"{sample}.h5ad", counts(seed=len(sample)), spatial=xy)
    with h5py.File(folder / f"{sample}.h5", "w") as file:
        file["img"] = np.full((8, 224, 224, 3), 200, np.uint8)
        file["barcode"] = np.array([[f"spot{i}"] for i in range(8)], dtype="S")
        file["coords"] = xy[:8].astype(int)
    text = json.dumps({"pixel_size_um_estimated": 0.5, "dataset_title": "A study", **metadata})
    return {
        f"st/{sample}.h5ad": (folder / f"{sample}.h5ad").read_bytes(),
        f"patches/{sample}.h5": (folder / f"{sample}.h5").read_bytes(),
        f"metadata/{sample}.json": text.encode(),
    }


@pytest.fixture
def hest(server: Server, local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two samples behind a token; returns where to fetch to."""
    local("hest")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    for sample, patient in (("TENX95", "Patient 1"), ("NCBI783", None)):
        for path, body in hest_sample(tmp_path, sample, patient=patient).items():
            name = f"datasets/MahmoodLab/hest/resolve/main/{path}"
            server.files[name], server.tokens[name] = body, "Bearer hf_right"
            server.kinds[name] = "application/json" if path.endswith(".json") else "application/octet-stream"
    return tmp_path / "to"


def test_hest(server: Server, hest: Path) -> None:
    said = fetch_twice(server, "hest", "--sections", "TENX95, NCBI783", "--to", hest)
    assert "6 files fetched" in said
    assert "2 sections are sound" in run("verify", "hest", "--data-dir", hest)
    dataset = open_dataset("hest", hest, ArrayCache())
    assert {info.id: info.patient for info in dataset.sections} == {
        "TENX95": "A study - Patient 1",
        "NCBI783": "unnamed",
    }
    section = dataset.load("TENX95")
    assert (section.counts.toarray() == counts(seed=6)[:8]).all()
    assert section.microns_per_pixel == 0.5
    assert all(b"hf_right" not in path.read_bytes() for path in hest.rglob("*") if path.is_file())


def test_hest_whose_licence_is_not_accepted(hest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = ("fetch", "hest", "--sections", "TENX95", "--to", hest)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DataError, match=r"accept it at .*/datasets/MahmoodLab/hest, and set HF_TOKEN .*was refused\)"):
        run(*fetch)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(DataError, match=r"\(HF_TOKEN is not set\)\.$"):
        run(*fetch)
    assert not hest.exists()


def test_samples_of_hest_that_are_not(hest: Path) -> None:
    with pytest.raises(DataError, match=r"metadata/TENX999\.json does not exist; check the ids"):
        run("fetch", "hest", "--sections", "TENX999", "--to", hest)
    with pytest.raises(ConfigurationError, match="name those wanted with --sections"):
        run("fetch", "hest", "--to", hest)
    with pytest.raises(ConfigurationError, match="Expected the name of a section"):
        run("fetch", "hest", "--sections", "../../x", "--to", hest)
    with pytest.raises(DataError, match=r"needs samples such as st/TENX95\.h5ad"):
        open_dataset("hest", None, ArrayCache())


# --- Visium ---------------------------------------------------------------------------------------------------------------


def visium_files(folder: Path, seed: int) -> dict[str, bytes]:
    """Space Ranger's files of a section by their path, and its full-resolution image."""
    write_visium(folder, header=False, seed=seed, names=("ERBB2", "SNAP25", "CD74", "KRT19", "VWF", "ACTB"))
    Image.fromarray(stained(600, 500, seed)).save(folder / "image.tif")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_visium_breast(server: Server, local: Local, tmp_path: Path) -> None:
    local("visium-breast")
    for number in (1, 2):
        files = visium_files(tmp_path / f"made{number}", number)
        name = f"V1_Breast_Cancer_Block_A_Section_{number}"
        start = f"samples/spatial-exp/1.1.0/{name}/{name}"
        server.files[f"{start}_filtered_feature_bc_matrix.h5"] = files.pop("filtered_feature_bc_matrix.h5")
        server.files[f"{start}_image.tif"] = files.pop("image.tif")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as file:
            for path, body in {**files, "spatial/aligned_fiducials.jpg": b"not wanted"}.items():
                info = tarfile.TarInfo(path)
                info.size = len(body)
                file.addfile(info, io.BytesIO(body))
        server.files[f"{start}_spatial.tar.gz"] = out.getvalue()
    fetch_twice(server, "visium-breast", "--to", tmp_path / "to")
    assert "2 sections are sound" in run("verify", "visium-breast", "--data-dir", tmp_path / "to")
    dataset = open_dataset("visium-breast", tmp_path / "to", ArrayCache())
    assert {info.id: info.patient for info in dataset.sections} == {"Section_1": "Block A", "Section_2": "Block A"}
    section = dataset.load("Section_2")
    assert (section.counts.toarray() == counts(14, 6, seed=2)[:12]).all()
    assert section.image == tmp_path / "to" / "Section_2" / "image.tif"


def test_dlpfc_section_by_section(server: Server, local: Local, tmp_path: Path) -> None:
    card = local("dlpfc")
    local("dlpfc", expected={**card.expected, "Br5595": {**card.expected["Br5595"], "151669": 12}})
    for section in ("151507", "151669"):
        files = visium_files(tmp_path / section, int(section))
        for name, part in (("filtered_feature_bc_matrix.h5", "h5"), ("tissue_hires_image.png", "images")):
            path = name if part == "h5" else f"spatial/{name}"
            server.files[f"{part}/{section}_{name}"] = files[path]
        server.files[f"images/{section}_full_image.tif"] = files["image.tif"]
        start = f"LieberInstitute/HumanPilot/master/10X/{section}"
        server.files[f"{start}/tissue_positions_list.txt"] = files["spatial/tissue_positions_list.csv"]
        server.files[f"{start}/scalefactors_json.json"] = files["spatial/scalefactors_json.json"]
    fetch_twice(server, "dlpfc", "--sections", "151669", "--to", tmp_path / "to")
    said = run("verify", "dlpfc", "--data-dir", tmp_path / "to")
    assert "1 section is sound" in said
    assert "Not here: 151507, 151508" in said
    run("fetch", "dlpfc", "--sections", "151507", "--to", tmp_path / "to")
    dataset = open_dataset("dlpfc", tmp_path / "to", ArrayCache())
    assert {info.id: info.patient for info in dataset.sections} == {"151507": "Br5292", "151669": "Br5595"}
    assert (dataset.load("151507").counts.toarray() == counts(14, 6, seed=151507)[:12]).all()
    result = CliRunner().invoke(app, ["data", "verify", "dlpfc", "--data-dir", str(tmp_path / "to")])
    assert result.exit_code == 3
    assert "expected the published 4226 spots, found 12" in " ".join(result.output.split())
    (tmp_path / "to" / "151507" / "full_image.tif").unlink()
    assert open_dataset("dlpfc", tmp_path / "to", ArrayCache()).info("151507").image is None
    with pytest.raises(ConfigurationError, match=r"no section of dlpfc named '151508x'. Did you mean '151508'"):
        run("fetch", "dlpfc", "--sections", "151508x", "--to", tmp_path / "to")
    with pytest.raises(DataError, match="qbench data fetch dlpfc"):
        open_dataset("dlpfc", None, ArrayCache())


# --- the cards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_whose_data_these_are(name: str) -> None:
    card = registry.card(name)
    assert not card.simulated
    assert card.licence
    assert "20" in card.citation
    assert card.url
    assert bool(card.marker_genes) == (name != "hest")
    assert len(set(card.marker_genes)) == len(card.marker_genes)
    assert card.notes
    shown = CliRunner().invoke(app, ["info", name])
    assert shown.exit_code == 0
    assert card.licence.split()[0] in shown.output
    assert ("method" in shown.output.split()) == (name == "stnet")  # of that name is a method, too
    assert name in CliRunner().invoke(app, ["list", "datasets"]).output


def test_how_many_sections_and_patients_there_are() -> None:
    found = {name: registry.card(name) for name in NAMES}
    sections = {name: len(card.expected_spots) for name, card in found.items()}
    patients = {name: len(set(card.expected_patients.values())) for name, card in found.items()}
    assert sections == {"cscc": 12, "dlpfc": 12, "hest": 0, "stnet": 68, "visium-breast": 2}
    assert patients == {"cscc": 4, "dlpfc": 3, "hest": 0, "stnet": 23, "visium-breast": 1}
    assert sum(n or 0 for n in found["dlpfc"].expected_spots.values()) == 47_681
    assert {entry.id: entry.patient for entry in found["dlpfc"].sections} == found["dlpfc"].expected_patients
