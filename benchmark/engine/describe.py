"""What a record says of a cell before it has run: everything but the results."""

from __future__ import annotations

from datetime import datetime

from ...datasets.folds import Part
from ...datasets.gene_names import missing_genes
from ...datasets.panel import GenePanel
from ...datasets.registry import Dataset
from ...leaderboard.record import FoldRecord, Hashes, MethodRecord, ProtocolRecord, Record
from .environment import describe_environment
from .identity import fold_data
from .resolve import ResolvedMethod
from .task import CellTask


def base_record(
    task: CellTask, resolved: ResolvedMethod, dataset: Dataset, panel: GenePanel, started: datetime
) -> Record:
    """The record of a cell with status "failed", to be completed."""
    spec = resolved.spec
    method = MethodRecord(
        name=spec.name,
        label=spec.label,
        version=spec.cls.version,
        kind=spec.cls.kind,
        profile=task.settings.profile,
        parameters=spec.parameters.model_dump(mode="json"),
        settings=dict(spec.settings),
        context=spec.cls.context,
        origin=spec.origin,
    )
    record = method_record(task, method, dataset, panel, started)
    patches = task.patch if resolved.inputs.image else None
    return record.model_copy(update={"encoder": resolved.encoder_record(), "patches": patches})


def method_record(
    task: CellTask, method: MethodRecord, dataset: Dataset, panel: GenePanel, started: datetime
) -> Record:
    """The same for a method that only its own record describes; no encoder, no patches."""
    protocol, fold = task.protocol, task.fold
    patients = {info.id: info.patient for info in dataset.sections}
    learned = {patients[p.section] for p in (*fold.train, *fold.validation)}
    test_patients = sorted({patients[p.section] for p in fold.test})

    def spots(parts: tuple[Part, ...]) -> int:
        total = 0
        for part in parts:
            section = dataset.load(part.section)
            rows = part.rows(section.array_xy)
            total += section.n_spots if rows is None else len(rows)
        return total

    return Record(
        cell=task.cell,
        identity=task.identity,
        status="failed",
        method=method,
        encoder=None,
        patches=None,
        protocol=ProtocolRecord(
            name=protocol.name,
            hash=protocol.hash,
            dataset=protocol.dataset,
            test_dataset=protocol.test_dataset,
            simulated=dataset.card.simulated,
            held_out=protocol.held_out,
            leaky=task.leaky,
            target=protocol.target,
            images=protocol.images,
            sections=protocol.sections,
            definition=protocol.model_dump(mode="json"),
        ),
        fold=FoldRecord(
            name=fold.name,
            test=tuple(p.section for p in fold.test),
            test_patients=tuple(patients[p.section] for p in fold.test),
            train=tuple(p.section for p in fold.train),
            validation=tuple(p.section for p in fold.validation),
            validation_rule=fold.rule,
            patient_in_training=any(p in learned for p in test_patients),
            n_train_spots=spots(fold.train),
            n_validation_spots=spots(fold.validation),
            n_test_spots=spots(fold.test),
        ),
        seed=task.seed,
        select=task.settings.select,
        max_epochs=task.settings.max_epochs,
        device=task.device,
        precision=task.precision,
        threads=task.threads,
        hashes=Hashes(data=fold_data(task.identity["fold"]), split=fold.hash, panel=panel.hash),
        panel={
            "hvg": panel.hvg,
            "heg": panel.heg,
            "mg": panel.mg,
            **{f"mg:{group}": genes for group, genes in panel.markers.items()},
        },
        markers_missing=panel.missing,
        genes_missing=missing_genes(dataset, [p.section for p in (*fold.validation, *fold.test)], panel.genes),
        n_genes=len(panel.genes),
        started=started.isoformat(timespec="seconds"),
        tuned=task.tuned,
        environment=describe_environment(task.device),
    )
