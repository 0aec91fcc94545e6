"""The promise that save and load give the same predictions, without pickles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from .subject import CLOSE, Broken, Subject, gap


def saves(subject: Subject) -> None:
    """Save the fitted method, load it and predict again.

    Raises:
        Broken: files other than JSON and safetensors, other genes, or other predictions.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        subject.method.save(path)
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            if file.suffix not in (".json", ".safetensors"):
                raise Broken(
                    f"save writes {file.name}; keep arrays in state() and restore(), which are stored as safetensors, and "
                    "nothing is ever unpickled"
                )
            if file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8"))
        loaded = type(subject.method).load(path)
    if tuple(loaded.genes) != tuple(subject.method.genes):
        raise Broken("a loaded model has other genes; leave them to Method.save and Method.load")
    apart = gap(loaded.predict(subject.data.test), subject.prediction)
    if apart > CLOSE:
        raise Broken(
            f"a loaded model differs by up to {apart:.2g}; return everything that predict needs from state() and set "
            "it in restore()"
        )
