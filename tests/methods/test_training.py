"""The shared loop: selection, stopping, resuming, and what it says when training goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import training
from qbench.methods.checkpoint import NAME
from qbench.methods.images import sources
from qbench.methods.images.sources import PatchSource, random_symmetry, symmetries
from qbench.methods.memory import memory_named, stays_on
from qbench.methods.method import FitContext
from qbench.methods.network_arrays import from_arrays, to_arrays
from qbench.methods.training import TrainingParameters, run, seeded
from torch import Tensor, nn

from ..support.method_cohorts import linear_cohort


def problem(
    context: FitContext,
    p: TrainingParameters,
    validate: Callable[[nn.Module], float] | None = None,
    average: float = 0.0,
    settle: Callable[[nn.Module], None] | None = None,
):
    """Fit y = x w with dropout (so that the random state matters); returns the network after training."""
    with seeded(context):
        x = torch.randn(50, 4)
        y = x @ torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        network = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 1))

        def loss(rows: Tensor):
            return (network(x[rows]) - y[rows]).square().mean(), {}

        check = None if validate is None else lambda: {"validation_mse": validate(network), "validation_pcc": 0.0}
        settled = None if settle is None else lambda: settle(network)
        run(network, 50, loss, p, context, validate=check, average=average, settle=settled)
    return network


def error(network: nn.Module) -> float:
    return float((network[1].weight.detach() - torch.tensor([[1.0, 2.0, 3.0, 4.0]])).square().mean())


P = TrainingParameters(epochs=30, batch_size=16, learning_rate=0.1)


def test_it_learns_and_the_seed_decides_everything():
    first, again, other = (problem(FitContext(seed=s), P, error) for s in (0, 0, 1))
    assert error(first) < 0.5
    torch.testing.assert_close(first[1].weight, again[1].weight, rtol=0, atol=0)
    assert not torch.equal(first[1].weight, other[1].weight)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    problem(FitContext(seed=0), P)
    assert torch.equal(torch.rand(1), expected)


def test_the_best_epoch_is_kept_and_patience_stops():
    figures = iter([5.0, 3.0, 4.0, 2.0, 9.0, 9.0, 9.0, 9.0])
    weights = []

    def validate(network: nn.Module) -> float:
        weights.append(network[1].weight.detach().clone())
        return next(figures)

    context = FitContext()
    network = problem(context, P.model_copy(update={"patience": 3}), validate)
    assert len(context.history) == 7
    assert context.selected_epoch == 4
    torch.testing.assert_close(network[1].weight.detach(), weights[3], rtol=0, atol=0)
    assert not network.training


def test_max_epochs_and_no_validation_keep_the_last_state():
    context = FitContext(max_epochs=2)
    problem(context, P)
    assert len(context.history) == 2
    assert context.selected_epoch == 2


def test_the_harness_can_stop():
    context = FitContext(on_epoch=lambda epoch, metrics: epoch == 3)
    problem(context, P)
    assert len(context.history) == 3


@pytest.mark.parametrize(("stop_at", "average"), [(1, 0.0), (4, 0.0), (9, 0.0), (4, 0.7)])
def test_a_resumed_run_equals_an_undisturbed_one(
    stop_at: int, average: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    whole = FitContext()
    expected = problem(whole, P, error, average)

    class Killed(Exception):
        pass

    def kill(epoch: int, metrics: object) -> bool:
        if epoch == stop_at + 1:
            raise Killed
        return False

    with pytest.raises(Killed):
        problem(FitContext(directory=tmp_path, on_epoch=kill), P, error, average)
    assert (tmp_path / NAME).is_file()
    resumed = FitContext(directory=tmp_path)
    epochs = []
    resumed.on_epoch = lambda epoch, metrics: epochs.append(epoch) or False
    found = problem(resumed, P, error, average)
    torch.testing.assert_close(found[1].weight, expected[1].weight, rtol=0, atol=0)
    assert resumed.history == whole.history
    assert resumed.selected_epoch == whole.selected_epoch
    assert epochs[0] == stop_at + 1, "the epochs before were not trained again"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_an_average_of_the_weights_validates_and_is_kept_while_training_goes_on_from_the_weights():
    def seen(average: float, validated: bool = True) -> tuple[list[Tensor], nn.Module]:
        weights: list[Tensor] = []

        def note(network: nn.Module) -> float:
            weights.append(network[1].weight.detach().clone())
            return -float(len(weights))  # the last is best

        p = P.model_copy(update={"epochs": 3})
        return weights, problem(FitContext(), p, note if validated else None, average)

    own, _ = seen(0.0)
    averaged, network = seen(0.5)
    torch.testing.assert_close(averaged[0], own[0])
    torch.testing.assert_close(averaged[1], 0.5 * own[0] + 0.5 * own[1])
    torch.testing.assert_close(averaged[2], 0.25 * own[0] + 0.25 * own[1] + 0.5 * own[2])
    assert torch.equal(network[1].weight, averaged[2])
    assert torch.equal(seen(0.5, validated=False)[1][1].weight, averaged[2])


def test_the_average_is_settled_before_it_validates_and_what_is_settled_is_kept():
    def settle(network: nn.Module) -> None:
        network[1].bias.fill_(7.0)

    seen: list[float] = []

    def note(network: nn.Module) -> float:
        seen.append(float(network[1].bias.detach()))
        return -float(len(seen))

    network = problem(FitContext(), P.model_copy(update={"epochs": 2}), note, 0.5, settle)
    assert seen == [7.0, 7.0]
    assert float(network[1].bias.detach()) == 7.0


def test_a_damaged_checkpoint_is_said_and_training_begins_anew(tmp_path: Path):
    (tmp_path / NAME).write_bytes(b"not a checkpoint")
    context = FitContext(directory=tmp_path)
    found = problem(context, P, error)
    assert "began anew" in context.warnings[0]
    torch.testing.assert_close(found[1].weight, problem(FitContext(), P, error)[1].weight, rtol=0, atol=0)


def test_accumulation_equals_a_larger_batch():
    def fit(batch: int, accumulate: int) -> Tensor:
        context = FitContext()
        with seeded(context):
            x, y = torch.randn(48, 4), torch.randn(48, 1)
            network = nn.Linear(4, 1)
            p = TrainingParameters(
                epochs=3, batch_size=batch, accumulate=accumulate, optimiser="sgd", learning_rate=0.1, momentum=0.9
            )
            run(network, 48, lambda r: ((network(x[r]) - y[r]).square().mean(), {}), p, context, validate=None)
        return network.weight.detach()

    torch.testing.assert_close(fit(24, 1), fit(8, 3))


def test_sgd_step_by_hand():
    with seeded(FitContext()):
        network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(network.weight, 2.0)
        p = TrainingParameters(epochs=1, batch_size=4, optimiser="sgd", learning_rate=0.1, weight_decay=0.0)
        run(network, 4, lambda r: (network(torch.ones(len(r), 1)).square().mean(), {}), p, FitContext(), validate=None)
    assert network.weight.item() == pytest.approx(2.0 - 0.1 * 2 * 2.0)


def test_amsgrad_is_asked_for_by_name_and_an_epoch_begins_with_a_word_to_its_optimiser():
    network, began = nn.Linear(2, 1), []
    x, context = torch.randn(8, 2), FitContext()

    def begin(epoch: int, optimiser: torch.optim.Optimizer) -> None:
        kept = optimiser.state.get(network.weight, {})
        began.append((epoch, type(optimiser), optimiser.param_groups[0]["amsgrad"], "max_exp_avg_sq" in kept))
        with torch.no_grad():
            network.weight.fill_(7.0 if epoch == 2 else 1.0)

    p = TrainingParameters(epochs=2, batch_size=8, learning_rate=1e-6, optimiser="amsgrad")
    run(network, 8, lambda rows: (network(x[rows]).square().mean(), {}), p, context, validate=None, begin=begin)
    assert began == [(1, torch.optim.Adam, True, False), (2, torch.optim.Adam, True, True)]
    torch.testing.assert_close(network.weight.detach(), torch.full((1, 2), 7.0), rtol=0, atol=1e-5)


def test_a_loss_that_is_not_finite_names_epoch_and_remedy():
    context = FitContext()
    with seeded(context):
        network = nn.Linear(1, 1)
        bad = TrainingParameters(epochs=3)
        with pytest.raises(MethodError, match=r"finite training loss, found nan in epoch 1.*learning_rate.*0\.001"):
            run(
                network,
                4,
                lambda r: (network(torch.full((len(r), 1), float("nan"))).mean(), {}),
                bad,
                context,
                validate=None,
            )


def test_a_batch_too_large_for_memory_names_the_option():
    with (
        pytest.raises(MethodError, match=r"does not fit into memory.*set a smaller batch_size"),
        memory_named("set a smaller batch_size"),
    ):
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match="must match the size"), memory_named("x"):
        torch.zeros(2) + torch.zeros(3)


def test_a_gpus_paragraph_becomes_part_of_the_sentence():
    said = (
        "CUDA out of memory. Tried to allocate 148.00 MiB. GPU 0 has a total capacity of 79.18 GiB of which 77.06 GiB is "
        "free. Including non-PyTorch memory, this process has 2.11 GiB memory in use."
    )
    with (
        pytest.raises(
            MethodError, match=r"\(CUDA out of memory: tried to allocate 148\.00 MiB, of a GPU's 79\.18 GiB\); stop\.$"
        ),
        memory_named("stop"),
    ):
        raise torch.OutOfMemoryError(said)
    with (
        pytest.raises(MethodError, match=r"^What it reads does not fit.*CUBLAS_STATUS_ALLOC_FAILED"),
        memory_named("x", "What it reads"),
    ):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def test_only_a_gpu_keeps_pixels_and_only_some(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert not stays_on(torch.device("cpu"), 1)
    assert stays_on(torch.device("cuda"), 250)
    assert not stays_on(torch.device("cuda"), 251)


@pytest.mark.parametrize("augment", [False, True])
def test_patches_kept_on_the_device_are_those_sent_to_it(augment: bool, monkeypatch: pytest.MonkeyPatch):
    patches = linear_cohort(0, {"A1": 7, "A2": 6}, patch=8).patches()
    mean, sd, rows = np.full(3, 0.5), np.full(3, 0.2), torch.tensor([9, 0, 12, 3])
    found = []
    for keeps in (False, True):
        monkeypatch.setattr(sources, "stays_on", lambda device, size, keeps=keeps: keeps and size == 13 * 8 * 8 * 3)
        monkeypatch.setattr(sources, "UPLOADED", 5)
        source = PatchSource(patches, mean, sd, torch.device("cpu"), augment)
        with seeded(FitContext()):
            prepared = source.prepare(rows)
            assert (prepared is rows) == keeps
            found.append(source.ready(prepared, training=True))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_a_batch_that_the_host_cannot_hold_is_stopped_while_it_grows(monkeypatch: pytest.MonkeyPatch):
    import psutil

    class Little:
        available = 2_000_000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    context = FitContext()
    with seeded(context):
        network = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(4)))

        def loss(rows: Tensor):
            return network(torch.ones(len(rows), 64)).square().mean(), {}

        # a step keeps about 4 layers x 2 tensors x 256 bytes a row, and 66 kB of weights
        small = TrainingParameters(epochs=1, batch_size=100)
        run(network, 2000, loss, small, context, validate=None)
        with pytest.raises(MethodError, match=r"does not fit.*GiB that are free.*smaller batch_size \(now 2000\)"):
            run(network, 2000, loss, TrainingParameters(epochs=1, batch_size=2000), context, validate=None)


def test_clipping_bounds_the_step():
    def moved(clip: float) -> float:
        with seeded(FitContext()):
            network = nn.Linear(1, 1, bias=False)
            nn.init.constant_(network.weight, 2.0)
            p = TrainingParameters(epochs=1, batch_size=4, optimiser="sgd", learning_rate=0.1, clip_norm=clip)
            run(network, 4, lambda r: (1e3 * network(torch.ones(len(r), 1)).mean(), {}), p, FitContext(), validate=None)
        return abs(network.weight.item() - 2.0)

    assert moved(0.0) == pytest.approx(100.0)
    assert moved(1.0) == pytest.approx(0.1, rel=1e-4)


def test_arrays_round_trip_and_refuse_another_network():
    a, b = nn.Linear(3, 2), nn.Linear(3, 2)
    from_arrays(b, to_arrays(a))
    torch.testing.assert_close(a.weight, b.weight, rtol=0, atol=0)
    with pytest.raises(MethodError, match="weight"):
        from_arrays(nn.Linear(4, 2), to_arrays(a))


def test_bf16_is_used_where_asked():
    seen = []
    context = FitContext(precision="bf16", max_epochs=1)
    with seeded(context):
        network = nn.Linear(4, 1)

        def loss(rows: Tensor):
            out = network(torch.ones(len(rows), 4))
            seen.append(out.dtype)
            return out.float().square().mean(), {}

        run(network, 8, loss, TrainingParameters(), context, validate=None)
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("name", ["stnet", "histogene", "qca"])
def test_predictions_are_not_rounded_to_bf16(name: str):
    from qbench.methods.histogene.network import HisToGeneNetwork
    from qbench.methods.qca.network import QCANetwork
    from qbench.methods.qca.parameters import QCAParameters
    from qbench.methods.stnet.network import STNetNetwork

    torch.manual_seed(0)
    x = torch.randn(1, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        if name == "stnet":
            out = STNetNetwork(6, 8)(x[0])
        elif name == "qca":
            out = QCANetwork(6, 8, QCAParameters(hidden=(16,), latent=8, recon_levels=(0,)))(x[0])
        else:
            sizes = {"dim": 8, "depth": 1, "heads": 2, "head_dim": 4, "mlp": 16, "dropout": 0.0, "positions": 4}
            out = HisToGeneNetwork(6, 8, **sizes)(x, torch.zeros(1, 5, 2, dtype=torch.long))
    assert out.dtype == torch.float32
    assert not torch.equal(out, out.bfloat16().float())


def test_symmetries_are_eight_and_training_draws_them_all():
    image = torch.arange(2 * 9.0).reshape(1, 2, 3, 3)
    eight = list(symmetries(image))
    assert len({tuple(s.flatten().tolist()) for s in eight}) == 8
    torch.testing.assert_close(eight[0], image)
    torch.manual_seed(0)
    drawn = random_symmetry(image.expand(200, -1, -1, -1))
    assert {tuple(d.flatten().tolist()) for d in drawn} == {tuple(s.flatten().tolist()) for s in eight}


def test_patches_are_normalised_and_augmented_in_training_only():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    source = PatchSource(
        pixels, np.array([0.5, 0.4, 0.3]), np.array([0.5, 0.25, 0.2]), torch.device("cpu"), augment=True
    )
    rows = torch.tensor([1])
    x = source.ready(source.prepare(rows), training=False)
    expected = (pixels[1] / 255 - [0.5, 0.4, 0.3]) / [0.5, 0.25, 0.2]
    torch.testing.assert_close(x[0].permute(1, 2, 0).double(), torch.tensor(expected), rtol=1e-5, atol=1e-5)
    torch.manual_seed(0)
    assert any(not torch.equal(source.ready(source.prepare(rows), training=True), x) for _ in range(10))
