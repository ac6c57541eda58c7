from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from medssr.errors import InputError
from medssr.sweeps.search import open_study, run_trials, search_space

pytestmark = pytest.mark.slow

SPACE = {"x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["a", "b"])}


def parsed(*overrides: str):
    return OverridesParser.create().parse_overrides(list(overrides))


def storage(folder: Path) -> str:
    return f"sqlite:///{folder}/below/optuna.db"


def worth(overrides: list[str]) -> float:
    values = dict(override.split("=") for override in overrides)
    return float(values["x"]) + (values["kind"] == "a")


def test_the_space_is_what_hydra_s_syntax_says():
    space, fixed = search_space(
        parsed(
            "a=interval(0.1,1)", "b=tag(log,interval(1e-5,1e-3))", "d=range(2,9,3)", "e=choice(x,y)", "f=1,2", "seed=3"
        )
    )
    assert space == {
        "a": FloatDistribution(0.1, 1),
        "b": FloatDistribution(1e-5, 1e-3, log=True),
        "d": IntDistribution(2, 8, step=3),
        "e": CategoricalDistribution(["x", "y"]),
        "f": CategoricalDistribution(["1", "2"]),
    }
    assert fixed == ["seed=3"]


def test_the_command_line_comes_after_the_presets():
    space, fixed = search_space(parsed("a=1,2", "b=1,2", "a=3", "seed=1", "seed=2"))
    assert list(space) == ["b"]
    assert fixed == ["a=3", "seed=2"]


def test_a_search_of_nothing_is_refused():
    with pytest.raises(InputError, match="interval"):
        search_space(parsed("seed=3"))


def test_a_search_that_is_killed_ends_as_one_that_is_not(tmp_path):
    whole, tried = open_study(storage(tmp_path / "whole"), "s", "maximize"), []

    def run(trials):
        tried.extend(trials)
        return [worth(trial) for trial in trials]

    run_trials(whole, SPACE, 12, 1, 0, run)

    def dying(trials):
        if len(lives) == 5:
            raise KeyboardInterrupt
        lives.extend(trials)
        return run(trials)

    expected, lives = tried.copy(), []
    tried.clear()
    with pytest.raises(KeyboardInterrupt):
        run_trials(open_study(storage(tmp_path / "killed"), "s", "maximize"), SPACE, 12, 1, 0, dying)
    again = open_study(storage(tmp_path / "killed"), "s", "maximize")
    run_trials(again, SPACE, 12, 1, 0, run)
    assert tried == expected
    assert again.best_params == whole.best_params
    run_trials(again, SPACE, 12, 1, 0, run)
    assert len(tried) == 12


def test_failed_trials_are_tried_again_by_the_next_start_and_not_for_ever(tmp_path):
    study, tried = open_study(storage(tmp_path), "s", "maximize"), []

    def failing(trials):
        tried.extend(trials)
        return [None for _ in trials]

    run_trials(study, SPACE, 4, 2, 0, failing)
    assert len(tried) == 4
    failed = tried.copy()
    tried.clear()

    def run(trials):
        tried.extend(trials)
        return [worth(trial) for trial in trials]

    run_trials(study, SPACE, 4, 2, 0, run)
    assert tried == failed


def test_a_damaged_storage_is_named(tmp_path):
    open_study(storage(tmp_path), "s", "maximize")
    file = Path(storage(tmp_path).removeprefix("sqlite:///"))
    file.write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match=f"{file} cannot be used"):
        open_study(storage(tmp_path), "s", "maximize")
