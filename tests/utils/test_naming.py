from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.utils.naming import job_name, safe_name

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


@pytest.mark.slow
@given(OVERRIDES, OVERRIDES)
def test_names_are_equal_for_equal_overrides_only(one, other):
    assert (job_name(one) == job_name(other)) == (sorted(one) == sorted(other))
    assert job_name(one) == job_name(one[::-1])


@pytest.mark.slow
@given(OVERRIDES)
def test_a_name_is_a_file_name(overrides):
    name = job_name(overrides)
    assert name.isascii()
    assert 0 < len(name) < 200
    assert not set(name) & set("/\\ \n'\"[]{}:*?<>|")
    assert not name.startswith(".")


@pytest.mark.parametrize("name", ["alpha", "MedQA (4 options)", "v1.2", "seed=3,model=a", "médecine", "中文"])
def test_a_name_that_is_a_folder_name_stays_as_it_is(name):
    assert safe_name(name) == name


HOSTILE = [
    "..",
    ".",
    "",
    "/",
    "../../..",
    "/etc/passwd",
    "a/b",
    "a\\b",
    ".hidden",
    "end. ",
    "a\nb",
    "a\0b",
    "\udc80",
    "x" * 300,
    "é" * 200,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_makes_a_file_in_its_folder(tmp_path, name):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f"questions-{safe_name(name)}.jsonl").touch()
    (tmp_path / "below" / safe_name(name)).touch()
    assert len(list((tmp_path / "below").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["below"]


TEXTS = st.text(st.characters()) | st.text("./ ~_a\\\0\udc80", max_size=8)


@pytest.mark.slow
@given(TEXTS, TEXTS)
def test_safe_names_stay_in_their_folder_and_tell_texts_apart(one, other):
    name = safe_name(one)
    assert Path("/folder", name).name == name
    assert Path("/folder", name).resolve().parent == Path("/folder")
    assert not name.startswith(".")
    assert len(name.encode()) < 200
    assert (name == safe_name(other)) == (one == other)
