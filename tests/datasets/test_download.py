"""Fetching, against a server on this machine and archives made here."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import pyzipper
from qbench.datasets import download as transfer
from qbench.datasets import unpack as unpacking
from qbench.datasets.download import Expected, download, git_blob
from qbench.datasets.fetch import fetch, verify_fetched
from qbench.datasets.fetched import RECORD
from qbench.datasets.registry import DatasetCard
from qbench.datasets.sources import ArchiveSource, FileSource, PublicFile, RepositorySource
from qbench.datasets.unpack import unpack
from qbench.errors import ConfigurationError, DataError, IntegrityError

from ..support.http_server import Server, serving

server = pytest.fixture(serving)
BODY = bytes(range(256)) * 2000  # 512,000 bytes


def test_a_file_arrives_whole_and_is_reported(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = BODY
    seen: list[tuple[str, int, int]] = []
    found = download(
        f"{server.url}/a.bin", tmp_path / "a.bin", Expected(size=len(BODY)), lambda *what: seen.append(what)
    )
    assert found == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert seen[-1][0] == "a.bin"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_cut_connection_is_continued_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = BODY
    server.cut_after = [200_000, 100_000]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", Expected(size=len(BODY)))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    starts = [None if wanted is None else int(wanted[6:-1]) for _, wanted in server.asked]
    assert starts[0] is None
    assert 0 < starts[1] <= 200_000 < starts[2] <= 300_000


def test_a_later_call_goes_on_with_what_has_arrived(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = BODY
    server.cut_after = [200_000] + [0] * transfer.TRIES
    with pytest.raises(DataError, match=r"the connection was refused or cut.*what has arrived is kept"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", Expected())
    assert not (tmp_path / "a.bin").exists()
    arrived = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < arrived <= 200_000
    server.asked.clear()
    download(f"{server.url}/a.bin", tmp_path / "a.bin", Expected())
    assert server.asked == [("a.bin", f"bytes={arrived}-")]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_server_that_ignores_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = BODY
    server.ranges = False
    server.cut_after = [200_000]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", Expected(size=len(BODY)))
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_part_of_an_older_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = BODY
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    download(f"{server.url}/a.bin", tmp_path / "a.bin", Expected(sha256=hashlib.sha256(BODY).hexdigest()))
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "expected",
    [Expected(size=5), Expected(sha256="0" * 64), Expected(git_blob="0" * 40)],
    ids=["size", "sha256", "git"],
)
def test_other_bytes_than_expected_are_refused(server: Server, tmp_path: Path, expected: Expected) -> None:
    server.files["a.bin"] = BODY
    with pytest.raises(IntegrityError) as caught:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", expected)
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_gone_and_a_server_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the server answered 404"):
        download(f"{server.url}/none", tmp_path / "a.bin", Expected())
    with pytest.raises(DataError, match="Could not fetch"):
        download("http://127.0.0.1:9/none", tmp_path / "a.bin", Expected())


def test_the_hash_of_a_git_blob(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"  # git hash-object


# --- archives -----------------------------------------------------------------------------------------------------------


def zipped(path: Path, members: dict[str, bytes], password: str | None = None) -> Path:
    with pyzipper.AESZipFile(
        path, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES if password else None
    ) as file:
        if password:
            file.setpassword(password.encode())
        for name, body in members.items():
            file.writestr(name, body)
    return path


ANY = {r"(?:.*/)?([^/]+)": r"\1"}


def test_members_go_where_the_card_places_them(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"images/HE/C1.jpg": b"1", "images/annotation/C1.jpg": b"2", "x/": b""})
    (tmp_path / "out").mkdir()
    placed = unpack(archive, tmp_path / "out", {r"images/HE/(([A-H])\d)\.jpg": r"ST-imgs/\2/\1/\1.jpg"})
    assert placed == [Path("ST-imgs/C/C1/C1.jpg")]
    assert (tmp_path / "out" / placed[0]).read_bytes() == b"1"


def test_encrypted_archives_need_the_right_password(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.txt": b"secret"}, "right")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"expected a password, found none given; see the README"):
        unpack(archive, tmp_path / "out", ANY, None, "see the README")
    with pytest.raises(DataError, match="the one given does not open it"):
        unpack(archive, tmp_path / "out", ANY, "wrong")
    assert unpack(archive, tmp_path / "out", ANY, "right") == [Path("a.txt")]
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"secret"


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:/evil.txt"])
def test_members_that_would_leave_the_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("good.txt", b"")
        file.writestr(name, b"evil")
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="written outside its folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out", {".*": r"\g<0>"})
    assert list((tmp_path / "out").iterdir()) == []


def test_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="holds the link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", ANY)


def test_a_decompression_bomb_is_refused_before_a_byte_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "SMALL", 1 << 20)
    archive = zipped(tmp_path / "a.zip", {"zeros.bin": bytes(5 << 20)})
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="unpack to 5,242,880"):
        unpack(archive, tmp_path / "out", ANY)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_archive_and_one_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "no.zip").write_bytes(b"nothing")
    with pytest.raises(DataError, match="Expected a zip or tar archive"):
        unpack(tmp_path / "no.zip", tmp_path / "out", ANY)
    archive = zipped(tmp_path / "a.zip", {"a.txt": b"x" * 1000})
    with pytest.raises(DataError, match="is it the right archive"):
        unpack(archive, tmp_path / "out", {r".*\.jpg": "x"})


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            file.addfile(info, io.BytesIO(body))
    return path


def test_a_tar_is_unpacked_and_so_are_its_gzipped_members_where_the_card_drops_the_ending(tmp_path: Path) -> None:
    members = {"x/a.jpg.gz": gzip.compress(b"picture"), "x/b.tsv.gz": gzip.compress(b"table"), "c.txt": b"no"}
    for i, mode in enumerate(("w", "w:gz")):
        archive = tarred(tmp_path / f"{i}.tar", members, mode)
        out = tmp_path / f"out{i}"
        out.mkdir()
        place = {r"x/(.*\.jpg)\.gz": r"\1", r"x/(.*\.tsv\.gz)": r"t/\1"}
        assert unpack(archive, out, place) == [Path("a.jpg"), Path("t/b.tsv.gz")]
        assert (out / "a.jpg").read_bytes() == b"picture"
        assert (out / "t/b.tsv.gz").read_bytes() == members["x/b.tsv.gz"]


def test_a_malicious_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(IntegrityError, match="written outside its folder"):
        unpack(tarred(tmp_path / "a.tar", {"../evil.txt": b"evil"}), out, ANY)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        with tarfile.open(tmp_path / "b.tar", "w") as file:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        with pytest.raises(IntegrityError, match="holds the link"):
            unpack(tmp_path / "b.tar", out, ANY)
    monkeypatch.setattr(unpacking, "SMALL", 1 << 20)
    bomb = tarred(tmp_path / "c.tar", {"zeros.bin": bytes(5 << 20)}, "w:gz")
    with pytest.raises(IntegrityError, match="unpack to 5,242,880"):
        unpack(bomb, out, ANY)
    packed = tarred(tmp_path / "d.tar", {"zeros.bin.gz": gzip.compress(bytes(5 << 20))})
    with pytest.raises(IntegrityError, match="is larger than it states"):
        unpack(packed, out, {r"(.*)\.gz": r"\1"})
    assert not any(path.name.startswith("evil") for path in tmp_path.rglob("*"))


# --- datasets ------------------------------------------------------------------------------------------------------------


def card(**sources: object) -> DatasetCard:
    return DatasetCard(name="mine", title="Mine", simulated=False, reader="tables", sources=sources)


def repository(server: Server, files: dict[str, bytes]) -> DatasetCard:
    tree = []
    for name, body in files.items():
        server.files[f"raw/data/{name}"] = body
        blob = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
        tree.append({"path": f"data/{name}", "type": "blob", "size": len(body), "sha": blob})
    server.files["tree"] = json.dumps(
        {"tree": [*tree, {"path": "data", "type": "tree", "sha": "0"}], "truncated": False}
    ).encode()
    return card(
        github=RepositorySource(
            kind="repository",
            listing=f"{server.url}/tree?recursive=1",
            raw=f"{server.url}/raw",
            folder="data/",
            include=("*.tsv",),
        )
    )


def test_a_repository_is_fetched_once_and_held_to_its_checksums(server: Server, tmp_path: Path) -> None:
    mine = repository(server, {"a/A1.tsv": b"one", "b/B1.tsv": b"two", "c.txt": b"not wanted"})
    done = fetch(mine, tmp_path / "to")
    assert done.new == ["a/A1.tsv", "b/B1.tsv"]
    assert "recorded in qbench-fetched.json now, and held from now on" in done.notes[0]
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == ["a", "b", RECORD]
    server.asked.clear()
    again = fetch(mine, tmp_path / "to")
    assert (again.new, again.kept, server.asked) == ([], ["a/A1.tsv", "b/B1.tsv"], [])
    assert "is complete (2 files)" in again.notes[0]
    assert verify_fetched(tmp_path / "to") == ["a/A1.tsv", "b/B1.tsv"]
    (tmp_path / "to" / "a" / "A1.tsv").write_bytes(b"ONE")
    with pytest.raises(IntegrityError, match="with the sha256 recorded when it was fetched"):
        fetch(mine, tmp_path / "to")


def test_a_file_that_is_gone_is_fetched_again_and_must_be_the_same(server: Server, tmp_path: Path) -> None:
    mine = repository(server, {"A1.tsv": b"one", "B1.tsv": b"two"})
    fetch(mine, tmp_path / "to")
    (tmp_path / "to" / "A1.tsv").unlink()
    with pytest.raises(IntegrityError, match="was fetched but is gone"):
        verify_fetched(tmp_path / "to")
    assert fetch(mine, tmp_path / "to").new == ["A1.tsv"]
    (tmp_path / "to" / "A1.tsv").unlink()
    changed = repository(server, {"A1.tsv": b"1ne", "B1.tsv": b"two"})
    with pytest.raises(IntegrityError, match="with sha256"):
        fetch(changed, tmp_path / "to")


def test_a_foreign_file_in_the_way_is_left_alone(server: Server, tmp_path: Path) -> None:
    mine = repository(server, {"A1.tsv": b"one"})
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "A1.tsv").write_bytes(b"mine")
    with pytest.raises(IntegrityError, match="is there already but is not the published file"):
        fetch(mine, tmp_path / "to")
    assert (tmp_path / "to" / "A1.tsv").read_bytes() == b"mine"


def test_a_listing_that_leads_outside(server: Server, tmp_path: Path) -> None:
    mine = repository(server, {"../../evil.tsv": b"evil"})
    with pytest.raises(IntegrityError, match="written outside"):
        fetch(mine, tmp_path / "to")


def archives(server: Server, sha256: str | None = None) -> DatasetCard:
    return card(
        zenodo=ArchiveSource(
            kind="archives",
            passwords="its README prints it",
            archives=[
                {
                    "url": f"{server.url}/counts.zip?download=1",
                    "sha256": sha256,
                    "password": "counts",
                    "place": {r".*/(\w+\.tsv)": r"t/\1"},
                }
            ],
        )
    )


def test_encrypted_archives_are_fetched_unpacked_and_removed(server: Server, tmp_path: Path) -> None:
    server.files["counts.zip"] = zipped(tmp_path / "c.zip", {"x/A1.tsv": b"one", "x/B1.tsv": b"two"}, "pw").read_bytes()
    with pytest.raises(ConfigurationError, match=r"--password counts=\.\.\.; its README prints it"):
        fetch(archives(server), tmp_path / "to")
    with pytest.raises(DataError, match="the one given does not open it"):
        fetch(archives(server), tmp_path / "to", passwords={"counts": "wrong"})
    assert not (tmp_path / "to" / "t").exists()
    server.asked.clear()
    done = fetch(archives(server), tmp_path / "to", passwords={"counts": "pw"})
    assert server.asked == []  # the archive had arrived before
    assert done.new == ["t/A1.tsv", "t/B1.tsv"]
    assert sorted(p.name for p in (tmp_path / "to").iterdir()) == [RECORD, "t"]
    (tmp_path / "to" / "t" / "A1.tsv").unlink()
    assert fetch(archives(server), tmp_path / "to", passwords={"counts": "pw"}).new == ["t/A1.tsv"]


def test_an_archive_with_another_checksum_than_the_cards(server: Server, tmp_path: Path) -> None:
    server.files["counts.zip"] = zipped(tmp_path / "c.zip", {"x/A1.tsv": b"one"}, "pw").read_bytes()
    with pytest.raises(IntegrityError, match="with sha256 000000000000"):
        fetch(archives(server, "0" * 64), tmp_path / "to", passwords={"counts": "pw"})


def test_datasets_that_cannot_be_fetched(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ConfigurationError, match="names no public source"):
        fetch(card(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"no source of mine named 'zenodoo'. Did you mean 'zenodo'"):
        fetch(archives(server), tmp_path, "zenodoo")


def test_a_full_disk_while_unpacking_does_not_blame_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data/x.tsv", "1")
    (tmp_path / "to").mkdir()
    monkeypatch.setattr(unpacking, "_extract", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "to", {r"data/(.*)": r"\1"})


@pytest.mark.parametrize("to", ["../evil.txt", "/etc/evil.txt", "C:/evil.txt", ""])
def test_a_card_names_no_place_outside_its_folder(to: str) -> None:
    with pytest.raises(ValueError, match="must lie in the data folder"):
        PublicFile(url="https://example.org/x", to=to)


def test_a_dataset_that_is_fetched_whole_has_no_sections_to_choose(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave out --sections"):
        fetch(repository(server, {"A1.tsv": b"one"}), tmp_path / "to", sections=["A1"])
    single = FileSource(kind="files", files=(PublicFile(url=f"{server.url}/a", to="a.txt"),))
    with pytest.raises(ConfigurationError, match="leave out --sections"):
        fetch(card(one=single), tmp_path / "to", sections=["A1"])
    assert server.asked == []
