"""medssr-evaluate: score a model on benchmarks."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.config import EvaluateConfig
from medssr.utils.entry import prepare_process, run_command

if TYPE_CHECKING:
    from medssr.evaluation.scoring import BenchmarkScore
    from medssr.questions import Question
    from medssr.rollout.sampled_answers import SampledAnswer

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig) -> Artifact:
    """Returns the artefact of scores: `results.json`, and `predictions-<benchmark>.jsonl` with every answer."""
    return Step("evaluate", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _score_benchmarks(config, directory)
    )


def _score_benchmarks(config: EvaluateConfig, directory: Path) -> dict[str, Any]:
    from medssr.data.benchmarks import benchmark_files, load_benchmark

    settings = config.benchmark
    files = benchmark_files(settings.path)
    # All are read before any is scored, and before torch is loaded: a fault in a file shows at once.
    benchmarks = {name: list(load_benchmark(file)) for name, file in files.items()}

    from medssr.evaluation.scoring import Prediction, score
    from medssr.models.policy import load_policy
    from medssr.rollout.sampled_answers import AnswerSampler
    from medssr.rollout.types import Sampling
    from medssr.utils.files import write_json_atomically, write_lines_atomically
    from medssr.utils.instantiate import instantiate

    prepare_process(config.extras, config.seed)
    policy = load_policy(config.model)
    engine = instantiate(config.rollout, "rollout", policy=policy)
    sampler = AnswerSampler(
        policy,
        engine,
        Sampling(settings.temperature, settings.max_new_tokens, settings.top_p, settings.top_k, has_logps=False),
        settings.num_samples,
        config.seed,
        "evaluation",
        settings.questions_per_chunk,
        config.extras.progress_bar,
    )
    scores: dict[str, BenchmarkScore] = {}
    with closing(engine):
        for name, questions in benchmarks.items():
            answers = list(sampler.sample(questions, directory / "answers" / name, files[name]))
            predictions = [
                Prediction(question.id, [item.letter for item in row], [item.reason for item in row])
                for question, row in zip(questions, answers, strict=True)
            ]
            scores[name] = score(questions, predictions, seed=config.seed)
            write_lines_atomically(directory / f"predictions-{name}.jsonl", _prediction_lines(questions, answers))
    results = {"benchmarks": {name: asdict(result) for name, result in scores.items()}}
    write_json_atomically(directory / "results.json", results)
    return {name: result.num_questions for name, result in scores.items()}


def _prediction_lines(questions: list[Question], answers: list[list[SampledAnswer]]) -> list[str]:
    return [
        json.dumps(
            {"question_id": question.id, "gold": question.answer, "answers": [asdict(item) for item in row]},
            ensure_ascii=False,
        )
        for question, row in zip(questions, answers, strict=True)
    ]


def main() -> None:
    """Console entry point."""
    run_command("evaluate", _main)


def _main(config: EvaluateConfig) -> None:
    from medssr.tracking.tables import print_scores

    artifact = evaluate(config)
    results = json.loads(artifact.path("results.json").read_text(encoding="utf-8"))
    print_scores(results["benchmarks"])
    log.info("made %s", artifact.path("results.json"))


if __name__ == "__main__":
    main()
