"""Records for the tests of the leaderboard, made of a few numbers; everything else takes a fixed value."""

from __future__ import annotations

from typing import Any

from qbench.leaderboard.record import (
    SCHEMA,
    EncoderRecord,
    Failure,
    FoldRecord,
    Hashes,
    MethodRecord,
    ProtocolRecord,
    Record,
)


def protocol(**changes: Any) -> ProtocolRecord:
    values: dict[str, Any] = {
        "name": "patient",
        "hash": "a" * 64,
        "dataset": "her2st",
        "simulated": False,
        "held_out": "patient",
        "leaky": False,
        "target": "counts",
        "images": True,
        "sections": ("A1", "A2", "B1"),
        "definition": {},
    }
    return ProtocolRecord(**{**values, **changes})


def record(
    method: str = "ridge",
    patient: str = "A",
    scores: dict[str, dict[str, float | None]] | None = None,
    *,
    seed: int = 0,
    pooled: dict[str, dict[str, float | None]] | None = None,
    kind: str = "method",
    profile: str = "fast",
    parameters: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    encoder: str | None = "efficientnet_lite0",
    weights: str = "e" * 64,
    of: ProtocolRecord | None = None,
    fold: str | None = None,
    patient_in_training: bool = False,
    failed: str | None = None,
    **changes: Any,
) -> Record:
    """A record; `scores` maps section -> figure -> value, `failed` is a message and makes a failed record."""
    scores = scores or {}
    settings = settings or {}
    label = method + ("[" + ",".join(f"{k}={v}" for k, v in settings.items()) + "]" if settings else "")
    fold = patient if fold is None else fold
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "cell": f"{label}-{profile}-{encoder}-{fold}-{seed}",
        "status": "failed" if failed else "done",
        "method": MethodRecord(
            name=method,
            label=label,
            version=1,
            kind=kind,
            profile=profile,
            parameters={**(parameters or {}), **settings},
            settings=settings,
            n_parameters=1_000_000,
        ),
        "encoder": None
        if encoder is None
        else EncoderRecord(name=encoder, weights=weights, version=1, runtime="torch", dtype="float32"),
        "patches": None,
        "protocol": of or protocol(),
        "fold": FoldRecord(
            name=fold,
            test=tuple(scores) or (f"{patient}1",),
            test_patients=(patient,) * max(1, len(scores)),
            train=("Z1",),
            validation=("Z2",),
            validation_rule="next patient",
            patient_in_training=patient_in_training,
            n_train_spots=100,
            n_validation_spots=10,
            n_test_spots=20,
        ),
        "seed": seed,
        "select": "mse",
        "max_epochs": None,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "hashes": Hashes(data="d" * 64, split=f"split of {fold}", panel=f"panel of {fold}"),
        "scores": {} if failed else scores,
        "pooled": pooled or {},
        "failure": Failure(type="MethodError", message=failed, traceback="") if failed else None,
    }
    values |= changes
    values["identity"] = {
        "method": method,
        "version": 1,
        "parameters": values["method"].parameters,
        "encoders": {} if encoder is None else {"default": {"encoder": encoder, "weights": weights}},
        "profile": profile,
        "protocol": values["protocol"].hash,
        "fold": fold,
        "seed": seed,
        "data": values["hashes"].data,
        "select": values["select"],
        "max_epochs": values["max_epochs"],
    }
    return Record(**values)


def simple(method: str, by_patient: dict[str, float], *, mse: float = 1.0, seed: int = 0, **more: Any) -> list[Record]:
    """A record a patient, one section each, every PCC at the given value."""
    names = ("pcc_mg", "pcc_hvg", "pcc_heg", "pcc_all")
    return [
        record(method, patient, {f"{patient}1": {**dict.fromkeys(names, value), "mse": mse}}, seed=seed, **more)
        for patient, value in by_patient.items()
    ]
