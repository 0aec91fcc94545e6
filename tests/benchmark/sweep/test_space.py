"""Spaces: what is refused before anything starts, and which points they give."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from qbench.benchmark.sweep.readings import read_multiverse
from qbench.benchmark.sweep.space import Axis, point, read_space
from qbench.errors import ConfigurationError
from qbench.methods import registry
from qbench.methods.registry import parse
from qbench.methods.training import TrainingParameters


def write(folder: Path, **parameters: object) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({"method": "qca", "parameters": parameters}))
    return path


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "parameters"),
        ({"alhpa": {"choice": [0.1]}}, "There is no parameter of qca named 'alhpa'. Did you mean 'alpha'?"),
        ({"alpha": {"choice": []}}, "an empty list"),
        ({"alpha": {"choice": [0.1, 0.1]}}, "one twice"),
        ({"alpha": {"uniform": [0.5, 0.1]}}, "from low to high, found 0.5 to 0.1"),
        ({"alpha": {"uniform": [0.0, 2.0]}}, "expected alpha to be"),
        ({"alpha": {"uniform": [0, 1], "choice": [0.1]}}, "found choice and uniform"),
        ({"alpha": {}}, "found none"),
        ({"learning_rate": {"loguniform": [0.0, 0.1]}}, "above 0"),
        ({"fsq_levels": {"choice": ["8-5", "8-x"]}}, "fsq_levels"),
        ({"alignment": {"choice": ["identical", "sideways"]}}, "sideways"),
        ({"alpha": {"range": [0, 1]}}, "range"),
    ],
)
def test_a_space_that_does_not_fit_the_method_is_refused(tmp_path, parameters, words):
    with pytest.raises(ConfigurationError) as error:
        read_space(parse("qca"), write(tmp_path, **parameters))
    assert words in str(error.value)
    assert str(error.value).count("\n") == 0


def test_a_parameter_cannot_be_fixed_and_searched(tmp_path):
    path = write(tmp_path, alpha={"choice": [0.1, 0.5]})
    with pytest.raises(ConfigurationError, match="fixes alpha, which the space"):
        read_space(parse("qca[alpha=0.9]"), path)


def test_a_space_of_another_method_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is for qca, not for ridge"):
        read_space(parse("ridge"), write(tmp_path, alpha={"choice": [0.1]}))
    with pytest.raises(ConfigurationError, match="No space comes with ridge"):
        read_space(parse("ridge"), None)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_space(parse("qca"), tmp_path / "none.yaml")


def test_the_default_space_of_qca_names_what_the_contract_asks_for():
    space = read_space(parse("qca"), None)
    assert {"alpha", "beta", "fsq_levels"} < set(space.parameters)
    readings = {name for point in read_multiverse(parse("qca")).points for name in point.readings[0].settings}
    assert len((set(space.parameters) & readings) - {"fsq_levels"}) in (2, 3)
    assert 0 in (space.parameters["beta"].choice or ())
    assert len(space.parameters["fsq_levels"].choice or ()) > 2


TRAINED = [
    name
    for name in registry.names()
    if registry.origin(name) == "qbench" and isinstance(registry.spec(name).parameters, TrainingParameters)
]


@pytest.mark.parametrize("profile", ["fast", "paper"])
@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_method_comes_with_a_space_around_what_it_does_by_default(name: str, profile: str):
    base = registry.spec(name, profile=profile)
    points = read_space(base, None).samples(5, 0, base)
    assert len(points) == 5
    if profile == "fast":
        own = base.parameters.model_dump(mode="json")
        assert points[0] == {parameter: own[parameter] for parameter in points[0]}


def test_samples_are_the_same_for_a_seed_differ_from_each_other_and_start_with_the_default(tmp_path):
    base = parse("qca")
    space = read_space(
        base, write(tmp_path, alpha={"uniform": [0, 1]}, fsq_levels={"choice": ["8-5-5-5", "8-8-8-5-5-5"]})
    )
    points = space.samples(20, 3, base)
    assert points == space.samples(20, 3, base)
    assert points[1:] != space.samples(20, 4, base)[1:]
    assert points[0] == {"alpha": 0.1, "fsq_levels": [8, 8, 8, 5, 5, 5]}
    assert len({str(p) for p in points}) == 20
    assert all(0 <= p["alpha"] <= 1 for p in points)
    assert space.samples(4, 3, base) == points[:4]


def test_a_space_smaller_than_the_samples_gives_what_it_has(tmp_path):
    base = parse("qca")
    space = read_space(base, write(tmp_path, beta={"choice": [0, 0.01, 0.1]}))
    assert sorted(p["beta"] for p in space.samples(16, 0, base)) == [0, 0.01, 0.1]


def test_a_grid_has_every_combination_and_needs_steps_for_a_range(tmp_path):
    base = parse("qca")
    axes = {"alpha": {"uniform": [0, 1], "steps": 3}, "learning_rate": {"loguniform": [0.0001, 0.01], "steps": 3}}
    points = read_space(base, write(tmp_path, **axes)).grid(base)
    assert len(points) == 9
    assert sorted({p["alpha"] for p in points}) == [0, 0.5, 1]
    assert sorted({p["learning_rate"] for p in points}) == pytest.approx([0.0001, 0.001, 0.01])
    with pytest.raises(ConfigurationError, match="needs the values of alpha"):
        read_space(base, write(tmp_path, alpha={"uniform": [0, 1]})).grid(base)


def test_integer_ranges_include_both_ends():
    import numpy as np

    axis = Axis(integers=(2, 4))
    rng = np.random.default_rng(0)
    assert {axis.draw(rng) for _ in range(100)} == {2, 3, 4}


def test_a_point_keeps_the_settings_of_its_base():
    assert point(parse("qca[beta=0]"), {"alpha": 0.5}).label == "qca[alpha=0.5,beta=0]"
