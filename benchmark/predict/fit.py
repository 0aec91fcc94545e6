"""Fit one method on all patients of a dataset, for use on new slides."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold, Part, last_of_three
from ...datasets.gene_names import check_gene_names
from ...datasets.leaks import check_leaks, check_panel
from ...datasets.registry import SectionInfo
from ...errors import ConfigurationError
from ...methods.encoders.registry import say_what_is_slow
from ...methods.machine import choose_precision, resolve_device
from ...methods.method import FitContext
from ...version import __version__
from ..engine.cohorts import open_cohort
from ..engine.fit_predict import fit
from ..engine.identity import contents_of, identity_of, read_spots, trained_by
from ..engine.inputs import Progress, prepare
from ..engine.panels import open_panel
from ..engine.plan import available_cores, patch_of
from ..engine.resolve import ResolvedMethod, resolve_method
from ..engine.settle import choose_sections, open_data, settle_protocol
from ..settings import RunSettings
from .model import FitRecord, PanelRecord, check_place, write_model

Epoch = Callable[[int, Mapping[str, float]], bool]


def all_patients_fold(sections: list[SectionInfo]) -> Fold:
    """Train on everything but what early stopping and the choice of penalties look at.

    That is the last patient by id where there are three or more, else the last section by id, else the 20 % of the only
    section's spots with the largest x on its fitted array.
    """
    ids = sorted(info.id for info in sections)
    patients = {info.id: info.patient for info in sections}
    last = last_of_three(patients.values())
    if last is not None:
        held = [name for name in ids if patients[name] == last]
        rule = f"patient {last}, last by id"
    elif len(ids) >= 2:
        held, rule = ids[-1:], f"section {ids[-1]}, last by id"
    else:
        only = ids[0]
        rule = f"20 % of the spots of {only} with the largest x on its fitted array"
        return Fold("all", (Part(only, "near"),), (Part(only, "far"),), (), rule)
    return Fold("all", tuple(Part(n) for n in ids if n not in held), tuple(Part(n) for n in held), (), rule)


def fit_model(
    options: RunSettings, to: Path, progress: Progress | None = None, on_epoch: Epoch | None = None
) -> FitRecord:
    """Fit `options.methods[0]` on all sections and write the model's folder; returns its record.

    Raises:
        ConfigurationError: not exactly one method or seed, or a folder in the way.
        MethodError: the method failed.
    """
    if len(options.methods) != 1 or len(options.seeds) != 1:
        raise ConfigurationError(
            "Fit one method with one seed: give one name, for example 'qbench fit ridge', and one --seeds."
        )
    check_place(to)
    cache = ArrayCache()
    device = resolve_device(options.device)
    resolved = resolve_method(options.methods[0], options, device)
    say_what_is_slow(resolved.encoders.values(), options.runtime)
    if resolved.spec.cls.kind == "oracle":
        raise ConfigurationError(
            f"{resolved.spec.label} is an oracle: it reads the measured counts, which a new slide does not have."
        )
    dataset = open_data(options, cache)
    if dataset.tested is None:
        infos, _ = choose_sections(dataset, options.sections, resolved.inputs.image, None)
        fold = all_patients_fold(infos)
    else:  # the fold that a run with --test-on has, and its panel
        settled = settle_protocol(options.model_copy(update={"no_images": not resolved.inputs.image}), dataset, cache)
        (fold,) = settled.folds
        infos = [dataset.info(part.section) for part in fold.parts]
    precision = choose_precision(options.precision, options.profile, device)
    resolved = resolved.stepping_for(options.runtime, device, precision, [fold], options.max_epochs)
    patients = {info.id: info.patient for info in infos}
    spots = read_spots(dataset, patients, cache)
    check_gene_names(dataset, patients, cache)
    check_leaks(dataset, [fold], dataset.tested is not None, cache)
    panel = open_panel(dataset, fold, cache)
    check_panel(fold, panel, contents_of(spots))

    patch = patch_of(options)
    views = {"": resolved.inputs.views}
    learned = sorted({part.section for part in (*fold.train, *fold.validation)})
    patch_read = patch if resolved.inputs.image else None
    reads = resolved.inputs
    inputs = prepare(
        dataset, learned, resolved.encoders, patch_read, cache, progress, views, reads.pixels, [reads.surroundings]
    )
    train = open_cohort(dataset, fold.train, panel, options.target, inputs)
    validation = open_cohort(dataset, fold.validation, panel, options.target, inputs)
    context = FitContext(
        seed=options.seeds[0],
        device=device,
        precision=precision,
        compiled=resolved.steps == "compiled",
        evaluation=resolved.evaluation,
        threads=available_cores(),
        select=options.select,
        max_epochs=options.max_epochs,
        backbone=resolved.backbone_weights,
        on_epoch=on_epoch,
    )
    method = resolved.spec.build()
    fit(method, train, validation, context)
    scales = sorted(s.microns_per_pixel for part in fold.train if (s := dataset.load(part.section)).microns_per_pixel)
    record = FitRecord(
        qbench=__version__,
        method=resolved.spec.label,
        origin=resolved.spec.origin,
        profile=options.profile,
        target=options.target,
        dataset=dataset.card.name,
        simulated=dataset.card.simulated,
        train={part.section: patients[part.section] for part in fold.train},
        validation={part.section: patients[part.section] for part in fold.validation},
        rule=fold.rule,
        panel=PanelRecord(
            genes=panel.genes,
            n_ranked=panel.n_ranked,
            hvg=panel.hvg,
            heg=panel.heg,
            markers={group: tuple(genes) for group, genes in panel.markers.items()},
        ),
        patch=patch,
        native_microns=(scales[0], statistics.median(scales), scales[-1]) if len(scales) == len(fold.train) else (),
        encoders={key: spec.identity() for key, spec in resolved.encoders.items()},
        fitted=_fitted(resolved, context, options),
        identity=identity_of(
            trained_by(resolved, options, patch, precision, context.seed), dataset, fold, spots, options.target, None
        ),
    )
    write_model(to, record, method)
    return record


def _fitted(resolved: ResolvedMethod, context: FitContext, options: RunSettings) -> dict[str, Any]:
    return {
        "parameters": resolved.spec.parameters.model_dump(mode="json"),
        "seed": context.seed,
        "precision": context.precision,
        "backbone": resolved.identity()["backbone"],
        "select": options.select,
        "epochs": len(context.history),
        "last": context.history[-1] if context.history else {},
        "warnings": list(context.warnings),
    }
