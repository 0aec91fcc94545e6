"""What a method promises of `predict`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import MethodError
from ..engine.fit_predict import check_prediction
from .subject import CLOSE, EPOCHS, Broken, Subject, gap
from .tiny import part_of


def predicts(subject: Subject) -> None:
    """Predict the test section and keep the prediction, float32 (spots, genes), on the subject.

    Raises:
        Broken: another type.
        MethodError: another shape, or values that are not finite.
    """
    values = subject.method.predict(subject.data.test)
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        raise Broken(
            f"expected float32, found {getattr(values, 'dtype', type(values).__name__)}; end with .astype(np.float32)"
        )
    subject.prediction = check_prediction(values, subject.data.test, "predict", clamped=False).copy()


def orders(subject: Subject) -> None:
    """Correlate the mean prediction of each gene with its training mean; the tiny dataset's means lie far apart.

    Raises:
        Broken: they do not follow each other (r below 0.5).
    """
    found = subject.prediction.mean(axis=0, dtype=np.float64)
    due = subject.targets.mean(axis=0, dtype=np.float64)
    if np.std(found) == 0 or np.corrcoef(found, due)[0, 1] < 0.5:
        raise Broken(
            "mean predictions per gene do not follow the training means, which lie far apart; either the columns are in "
            f"another order than train.genes, or nothing was learned in {EPOCHS} epochs: start the last bias at "
            "train.target.mean(axis=0)"
        )


def repeats(subject: Subject) -> None:
    """Predict the same section again.

    Raises:
        Broken: the two predictions are not equal, bit by bit.
    """
    again = subject.method.predict(subject.data.test)
    if not np.array_equal(again, subject.prediction):
        raise Broken(
            f"two predictions differ by up to {gap(again, subject.prediction):.2g}; call network.eval() and draw nothing "
            "at random in predict"
        )


def batches(subject: Subject) -> None:
    """Predict three spots apart from the others, for methods of context "spot".

    Raises:
        Broken: they differ from the same three among all.
    """
    rows = np.array([7, 0, 13])
    apart = gap(subject.method.predict(part_of(subject.data.test, rows)), subject.prediction[rows])
    if apart > CLOSE:
        raise Broken(
            f"three spots alone differ by {apart:.2g} from the same three among all; do not normalise over the batch in "
            "predict, or declare context = 'section'"
        )


def permutes(subject: Subject) -> None:
    """Predict the spots in another order, for methods of context "section".

    Raises:
        Broken: a spot's prediction depends on its row.
    """
    rows = np.random.default_rng(0).permutation(subject.data.test.n_spots)
    apart = gap(subject.method.predict(part_of(subject.data.test, rows)), subject.prediction[rows])
    if apart > CLOSE:
        raise Broken(
            f"spots in another order are predicted otherwise (by up to {apart:.2g}); use section.array_xy for places, "
            "never the row number"
        )


def survives(subject: Subject) -> None:
    """Predict a section of one spot, then one of bare glass, where spreads and norms are 0.

    Raises:
        Broken: a row is missing or not finite.
    """
    test = subject.data.test
    one = part_of(test, np.array([0]))
    glass = subject.data.store.holding("glass", np.full_like(subject.data.store.held[:1], 245))
    for section in (one, replace(one, id="glass", store=glass)):
        values = subject.method.predict(section)
        try:
            check_prediction(values, section, "predict")
        except MethodError as error:
            raise Broken(
                "a section of one spot, or of bare glass, gives no finite row; guard divisions by a spread or norm of 0"
            ) from error
