"""medssr-evaluate with a model that it gets from a hub on this machine, by the name of a branch."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results
from support.commands import run
from support.hub_server import COMMIT, running_hub

from medssr.manifests import read_artifact
from medssr.questions import read_questions, write_questions
from medssr.resources import RESOURCES

NAME = "me/tiny"


@pytest.mark.slow
def test_a_model_of_the_hub_is_known_by_its_commit(tmp_path):
    questions = list(read_questions(RESOURCES / "questions" / "evaluation.jsonl"))[::86]
    write_questions(tmp_path / "few.jsonl", questions)
    with running_hub() as hub:
        hub.hold(NAME, RESOURCES / "policies" / "tiny_qwen3")
        # The proxies of this machine are not for loopback.
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        env |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        asked = ["model=tiny_qwen3", f"model.path={NAME}", "model.revision=main"]
        run(
            "evaluate",
            *asked,
            "benchmark=released",
            f"benchmark.path={tmp_path / 'few.jsonl'}",
            "protocol=greedy",
            folder=tmp_path,
            env=env,
        )
    (folder,) = (tmp_path / "artifacts" / "evaluate").glob("*[0-9a-f]")
    artifact = read_artifact(folder)
    assert artifact.manifest["config"]["model"]["path"] == NAME
    assert artifact.manifest["config"]["model"]["revision"] == COMMIT
    index = yaml.safe_load(artifact.path("model_index.yaml").read_text(encoding="utf-8"))
    name, results = model_index_to_eval_results(index["model-index"])
    assert (name, {item.dataset_name for item in results}) == ("tiny", {"few"})
    assert sum(item.metric_args["num_questions"] for item in results if item.metric_name != "Accuracy") == len(
        questions
    )
