"""A sweep on the demo data: the share of the workers' time that is training, at 16 and 64 trials."""

from __future__ import annotations

import io
import tempfile

from .measure import Row, less

TRIALS = (16, 64)
METHOD, EPOCHS = "qca", 20


def rows(trials: tuple[int, ...] = TRIALS, epochs: int = EPOCHS) -> list[Row]:
    """Seconds of the search, beside those of its training spread over the workers, and the share of the two, once each."""
    from rich.console import Console

    from ..engine.plan import make_plan
    from ..engine.reporter import make_reporter
    from ..read_settings import read_settings
    from ..sweep.run import run_sweep
    from ..sweep.settings import SweepSettings

    found = []
    quiet = make_reporter(quiet=True, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        options = read_settings({"max_epochs": epochs, "out": folder})
        folds = len(make_plan(options.model_copy(update={"methods": (METHOD,)})).ground.settled.folds)
        for wanted in trials:
            samples = max(1, wanted // folds)
            settings = SweepSettings(samples=samples, new=True)
            done = run_sweep(METHOD, options, settings, Console(file=io.StringIO()), quiet, quiet=True, verbose=False)
            times = done.times
            name = f"sweep {METHOD}, {samples * folds} trials of up to {epochs} epochs"
            if times.share is not None:
                found.append(Row(f"{name}: share of the workers' time in training", times.share, None, None, "share"))
            found.append(less(f"{name}: search, after {times.ray:.1f} s for Ray", "s", times.search, None))
    return found
