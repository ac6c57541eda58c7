"""Every job of every study composes, has a folder of its own, and asks for something of its own."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.helpers import typed

from medssr.config import StageQuestions, register
from medssr.config.catalog import CONF_DIR
from medssr.sweeps.jobs import job_fingerprint
from medssr.utils.naming import job_name

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
STUDIES = sorted(
    file.stem for file in CONF_DIR.glob("experiment/*.yaml") if "study" in yaml.safe_load(file.read_text())
)


def jobs(study: str) -> list[list[str]]:
    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = hydra.compose("pipeline", [f"experiment={study}"], return_hydra_config=True)
    assert config.study == study
    params = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    overrides = OverridesParser.create().parse_overrides([f"experiment={study}", *params])
    (combinations,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return combinations


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


def test_arms_are_what_they_are_called():
    own, other = typed("pipeline", "arm=labels_own"), typed("pipeline", "arm=labels_other_model")
    assert own.labeler is None
    assert other.labeler.path.endswith("tiny_llama")
    assert other.model.path.endswith("tiny_qwen3")
    assert typed("pipeline", "arm=labels_truth").labeling.uses_truth
    assert typed("pipeline", "arm=knowledge_name").synthesis.num_passages == 0
    assert typed("pipeline", "arm=knowledge_none").synthesis.rare_share == 0
