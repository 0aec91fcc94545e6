"""Weights from a hub: fetched, kept, refused in one sentence, and held against what the hub said they are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from qbench.errors import ConfigurationError, DataError
from qbench.methods.encoders.registry import card, resolve

from ...support.fake_hub import Hub, hub

FILE = os.urandom(200_000)
UNI = "MahmoodLab/UNI/pytorch_model.bin"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that holds UNI's file, and a user without a token and with an empty cache."""
    for state in hub():
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", state.url)  # as HF_ENDPOINT, which is read on import
        template = state.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        state.files[UNI] = FILE
        yield state


def _fetch(name: str = "uni") -> Path:
    spec = resolve(name, {}, "cpu", "eager")
    assert isinstance(spec.weights, Path)
    assert spec.sha256 == hashlib.sha256(spec.weights.read_bytes()).hexdigest()
    return spec.weights


def test_a_file_is_fetched_once_and_then_found_without_the_hub(server: Hub) -> None:
    assert _fetch().read_bytes() == FILE
    asked = len(server.asked)
    assert _fetch().read_bytes() == FILE
    assert len(server.asked) == asked


def test_the_file_and_the_revision_of_the_card_are_asked_for(server: Hub) -> None:
    found = card("virchow2")
    server.files = {"paige-ai/Virchow2/model.safetensors": FILE, "paige-ai/Virchow2/pytorch_model.bin": b"another"}
    server.revisions = (str(found.hub_revision),)
    assert _fetch("virchow2").read_bytes() == FILE
    paths = {path for method, path, _ in server.asked if method == "GET"}
    assert paths == {f"/paige-ai/Virchow2/resolve/{found.hub_revision}/model.safetensors"}


def _refused(name: str = "uni") -> str:
    with pytest.raises(ConfigurationError, match=f"--encoder-weights {name}=FILE") as caught:
        resolve(name, {}, "cpu", "eager")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_gated_repository_without_a_token(server: Hub) -> None:
    server.gated = True
    said = _refused()
    assert (
        "MahmoodLab/UNI is gated and there is no token: accept its terms at https://huggingface.co/MahmoodLab/UNI"
        in said
    )
    assert "hf auth login" in said


def test_a_gated_repository_whose_terms_are_not_accepted(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    said = _refused()
    assert "this account was not let in" in said
    assert "hf_stranger" not in said


def test_a_gated_repository_with_its_terms_accepted(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.gated = True
    monkeypatch.setenv("HF_TOKEN", server.member)
    assert _fetch().read_bytes() == FILE


def test_a_token_that_the_hub_does_not_know(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    said = _refused()
    assert "does not accept the token" in said
    assert "hf_expired" not in said


def test_a_revision_that_is_gone(server: Hub) -> None:
    server.files = {"owkin/phikon-v2/model.safetensors": FILE}
    assert f"has no revision {card('phikon-v2').hub_revision} any more" in _refused("phikon-v2")


def test_a_repository_without_the_file(server: Hub) -> None:
    server.files = {"MahmoodLab/UNI/README.md": b"words"}
    assert "MahmoodLab/UNI holds none of pytorch_model.bin" in _refused()


def test_a_repository_that_is_not_there(server: Hub) -> None:
    server.files = {"somebody/else/file": b"words"}
    assert "the hub knows no MahmoodLab/UNI" in _refused()


def test_a_download_that_is_cut_goes_on_where_it_ended(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    server.cut_after = [70_000]
    assert _fetch().read_bytes() == FILE
    assert [wanted for method, path, wanted in server.asked if method == "GET" and "resolve" in path] == [
        None,
        "bytes=70000-",
    ]


def test_a_file_that_is_not_what_the_hub_says_is_refused(server: Hub) -> None:
    server.sha256 = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(
        DataError, match=rf"sha256 {server.sha256[:12]} for encoder 'uni' .*delete it and start again"
    ) as caught:
        resolve("uni", {}, "cpu", "eager")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_what_the_card_says_is_refused(server: Hub) -> None:
    server.files = {"SophontAI/OpenMidnight/teacher_checkpoint_load.pt": FILE}
    with pytest.raises(DataError, match="sha256 b57121fc for encoder 'openmidnight'"):
        resolve("openmidnight", {}, "cpu", "eager")


def test_a_local_file_asks_no_hub(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(b"mine")
    assert resolve("uni", {"uni": tmp_path / "mine.bin"}, "cpu", "eager").sha256 == hashlib.sha256(b"mine").hexdigest()
    assert server.asked == []


@pytest.mark.slow
def test_hf_endpoint_names_the_hub(server: Hub, tmp_path: Path) -> None:
    code = "from qbench.methods.encoders.registry import resolve; print(resolve('uni', {}, 'cpu', 'eager').sha256)"
    env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    env.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == hashlib.sha256(FILE).hexdigest(), done.stderr
