"""Every job of every study composes, has a folder of its own, and asks for something of its own."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.helpers import typed

from medssr.config import StageQuestions, register
from medssr.config.catalog import CONF_DIR
from medssr.sweeps.jobs import job_fingerprint
from medssr.sweeps.running import combinations
from medssr.utils.naming import job_name

pytestmark = pytest.mark.slow

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STUDIES = sorted(
    file.stem for file in CONF_DIR.glob("experiment/*.yaml") if "study" in yaml.safe_load(file.read_text())
)


def jobs(study: str) -> list[list[str]]:
    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = hydra.compose("pipeline", [f"experiment={study}"], return_hydra_config=True)
    assert config.study == study
    sweeper = config.hydra.sweeper
    params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    return combinations(OverridesParser.create(), params, sweeper.variants, [f"experiment={study}"])


def test_the_studies_are_there():
    assert {
        "main_table", "stages", "alpha", "amount", "model_size", "pseudo_labels", "knowledge", "rewards", "stability"
    } <= set(STUDIES)  # fmt: skip


@pytest.mark.parametrize("study", STUDIES)
def test_every_job_of_a_study_composes_and_differs_from_the_others(study):
    found = jobs(study)
    configs = [typed("pipeline", *overrides) for overrides in found]
    assert len(found) > 1
    assert len({job_name(overrides) for overrides in found}) == len(found)
    assert len({job_fingerprint(config) for config in configs}) == len(found)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_says_what_it_asks_how_it_is_run_and_what_came_out(study):
    text = (EXPERIMENTS / study / "README.md").read_text(encoding="utf-8")
    for part in ("**Question.**", "**Paper scale.**", "**CPU scale.**", "**Result.**", f"experiment={study}"):
        assert part in text


def test_schedules_are_what_they_are_called():
    def kinds(schedule: str) -> list[StageQuestions]:
        return [stage.questions for stage in typed("pipeline", f"schedule={schedule}").stages]

    own, human, mixed = StageQuestions.pseudo_labelled, StageQuestions.human, StageQuestions.mixed
    assert kinds("two_stages") == [own, human]
    assert kinds("reversed") == [human, own]
    assert (kinds("selfsup_only"), kinds("sup_only"), kinds("mixed")) == ([own], [human], [mixed])


def test_the_paper_s_scale_composes():
    config = typed("pipeline", "scale=paper", "experiment=alpha", "synthesis.rare_share=0.3")
    assert (config.synthesis.num_questions, config.grpo.num_prompts_per_step) == (43000, 128)


def test_a_study_s_variants_are_what_they_are_called():
    by_labels = {job_name(job): typed("pipeline", *job) for job in jobs("pseudo_labels")}
    own, other, no_filter, low, high, _ = by_labels.values()
    assert own.labeler is None
    assert other.labeler.path.endswith("tiny_llama")
    assert other.model.path.endswith("tiny_qwen3")
    bands = [(config.labeling.min_agreement, config.labeling.max_agreement) for config in (no_filter, low, high)]
    assert bands == [(0.0, 1.0), (0.4, 0.7), (0.7, 1.0)]
    assert [config.labeling.min_valid_share for config in (no_filter, low, high)] == [0.0, 0.5, 0.5]
    assert [config.labeling.uses_truth for config in by_labels.values()] == [False] * 5 + [True]
    none, name, bm25, _ = (typed("pipeline", *job) for job in jobs("knowledge"))
    assert (none.synthesis.rare_share, name.synthesis.num_passages, bm25.synthesis.num_passages) == (0, 0, 1)


def test_the_command_line_replaces_what_a_variant_sets():
    register()
    parser, variants = OverridesParser.create(), {"a": ["grpo.beta=0.1"], "b": ["grpo.beta=0.2", "seed=3"]}
    made = combinations(parser, ["grpo.num_steps=1,2"], variants, ["seed=7"])
    assert made == [
        ["grpo.num_steps=1", "grpo.beta=0.1", "seed=7"],
        ["grpo.num_steps=2", "grpo.beta=0.1", "seed=7"],
        ["grpo.num_steps=1", "grpo.beta=0.2", "seed=7"],
        ["grpo.num_steps=2", "grpo.beta=0.2", "seed=7"],
    ]
