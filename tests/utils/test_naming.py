from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.utils.naming import job_name

KEYS = st.sampled_from(["seed", "model", "grpo.beta", "data.path", "stages"])
OVERRIDES = st.dictionaries(KEYS, st.text(max_size=80)).map(
    lambda values: [f"{key}={value}" for key, value in values.items()]
)


def test_a_name_is_what_was_asked_for_in_the_order_of_keys():
    assert job_name(["seed=3", "grpo.beta=1e-3", "model=tiny_llama"]) == "grpo.beta=1e-3,model=tiny_llama,seed=3"


@pytest.mark.parametrize(
    "override",
    [
        "extras.num_threads=1",
        "logger=csv",
        "logger.wandb.offline=false",
        "~logger",
        "+logger.mine.x=1",
        "paths.root_dir=/x",
        "callbacks.checkpoint.every_num_steps=1",
        "force=true",
        "study=alpha",
        "hydra.verbose=true",
        "hydra/launcher=joblib",
    ],
)
def test_what_changes_no_result_names_no_run(override):
    assert job_name([override, "seed=3"]) == "seed=3"
    assert job_name([override]) == "defaults"


def test_what_only_looks_like_it_names_the_run():
    assert job_name(["loggers=1", "forced=2"]) == "forced=2,loggers=1"


def test_long_values_are_cut_and_still_told_apart():
    names = [job_name([f"data.path=/a/very/long/path/to/questions/that/nobody/reads/{end}.jsonl"]) for end in "ab"]
    assert names[0] != names[1]
    assert all(len(name) < 70 for name in names)
    many = [f"group_{number}.setting={'x' * 30}" for number in range(50)]
    assert len(job_name(many)) < 200
    assert job_name(many) != job_name([*many, "seed=1"])


@given(OVERRIDES, OVERRIDES)
def test_names_are_equal_for_equal_overrides_only(one, other):
    assert (job_name(one) == job_name(other)) == (sorted(one) == sorted(other))
    assert job_name(one) == job_name(one[::-1])


@given(OVERRIDES)
def test_a_name_is_a_file_name(overrides):
    name = job_name(overrides)
    assert name.isascii()
    assert 0 < len(name) < 200
    assert not set(name) & set("/\\ \n'\"[]{}:*?<>|")
    assert not name.startswith(".")
