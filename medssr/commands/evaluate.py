"""medssr-evaluate: score a model on benchmarks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import with_run
from medssr.config import EvaluateConfig, ProtocolConfig, ProtocolKind
from medssr.errors import InputError
from medssr.hub.model_index import write_model_index
from medssr.hub.revisions import at_commit
from medssr.manifests import Artifact, point_to
from medssr.models.device import prepared_process
from medssr.reports.wandb_steps import log_step
from medssr.utils.naming import safe_name

if TYPE_CHECKING:
    from medssr.benchmarks.suite import Benchmark, Suite
    from medssr.evaluation.benchmark_results import BenchmarkAnswers
    from medssr.evaluation.results_io import EvaluationResults
    from medssr.evaluation.runner import BenchmarkRunner, Prompter
    from medssr.questions import Question

log = logging.getLogger(__name__)


def evaluate(config: EvaluateConfig) -> Artifact:
    """Returns the artefact of scores: `results.json`, and for each benchmark its questions and all answers.

    The files `questions-<benchmark>.jsonl` and `predictions-<benchmark>.jsonl` have the same questions line by line.
    `model_index.yaml` has the scores in the form of a model card. A model on the hub counts by its commit.
    """
    config = replace(config, model=at_commit(config.model))
    made = Step.of("evaluate", config).run(lambda directory: _score_benchmarks(config, directory))
    log_step(config, made)
    return made


def _score_benchmarks(config: EvaluateConfig, directory: Path) -> dict[str, Any]:
    from medssr.benchmarks.suite import load_suite

    # Read all benchmarks before torch is loaded, so that an error in a file is reported immediately.
    suite = load_suite(config.benchmark, config.rarity)
    asked = _asked(suite, config.protocol.prefill)

    from medssr.evaluation.results_io import predictions_file, questions_file, write_evaluation
    from medssr.evaluation.runner import BenchmarkRunner, Prompter, choose_shots
    from medssr.models.device import use_gpu
    from medssr.models.policy import load_policy
    from medssr.models.prompts import read_prompt_template
    from medssr.questions import write_questions
    from medssr.utils.files import write_lines_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import Progress

    protocol = config.protocol
    template = read_prompt_template(protocol.prompt_path)
    shots = choose_shots(protocol, [question for questions in asked.values() for question in questions])
    answers: dict[str, BenchmarkAnswers] = {}
    with prepared_process(config.extras, config.seed):
        policy = load_policy(config.model)
        prompter = Prompter(template, shots, policy.tokenizer)
        with (
            closing(instantiate(config.rollout, "rollout", policy=policy)) as engine,
            Progress("evaluate", _num_answers(protocol, asked), "answers") as progress,
        ):
            use_gpu(policy, is_gpu_free=not engine.fills_gpu)
            runner = BenchmarkRunner(policy, engine, protocol, prompter, config.seed, progress)
            for name, questions in asked.items():
                answers[name] = _ask(runner, suite.benchmarks[name], questions, directory / "answers" / safe_name(name))
                write_questions(questions_file(directory, name), questions)
                write_lines_atomically(predictions_file(directory, name), answers[name].lines())
    results = _results(config, suite, prompter, answers)
    write_evaluation(directory, results)
    write_model_index(directory, Path(config.model.path).name, asdict(results))
    return {name: len(questions) for name, questions in asked.items()}


def _results(
    config: EvaluateConfig, suite: Suite, prompter: Prompter, answers: Mapping[str, BenchmarkAnswers]
) -> EvaluationResults:
    """Returns the results of a model, given the answers to each benchmark."""
    from medssr.evaluation.benchmark_results import benchmark_record, means_record, protocol_record
    from medssr.evaluation.results_io import EvaluatedModel, EvaluationResults

    model = config.model
    return EvaluationResults(
        model=EvaluatedModel(model.path, model.revision, model.dtype.value, model.adapter_path),
        protocol=protocol_record(config.protocol, prompter),
        benchmarks={name: benchmark_record(given, config) for name, given in answers.items()},
        seed=config.seed,
        rarity=suite.rarity,
        means=means_record(answers, config),
        missing=suite.missing,
    )


def _asked(suite: Suite, prefill: str | None) -> dict[str, list[Question]]:
    """Returns the questions to ask, by benchmark: all of them, or those that have the prefill."""
    from medssr.evaluation.prefills import has_prefill

    if prefill is None:
        return {name: benchmark.questions for name, benchmark in suite.benchmarks.items()}
    asked: dict[str, list[Question]] = {}
    for name, benchmark in suite.benchmarks.items():
        questions = [question for question in benchmark.questions if has_prefill(question, prefill)]
        if questions:
            asked[name] = questions
        else:
            suite.missing[name] = f'no question of {benchmark.subset.source} has a text in the field "{prefill}"'
    if not asked:
        raise InputError(f"protocol.prefill: {'; '.join(suite.missing.values())}.")
    return asked


def _num_answers(protocol: ProtocolConfig, asked: Mapping[str, Sequence[Question]]) -> int:
    """Returns the number of answers to all questions, in all orders of their options."""
    per_order = 1 if protocol.kind is ProtocolKind.letters else protocol.num_samples
    return sum(map(len, asked.values())) * protocol.num_orders * per_order


def _ask(runner: BenchmarkRunner, benchmark: Benchmark, questions: list[Question], directory: Path) -> BenchmarkAnswers:
    """Returns the answers to a benchmark's questions, each asked in the number of option orders of the protocol."""
    from medssr.evaluation.benchmark_results import BenchmarkAnswers, text_sha256
    from medssr.evaluation.option_permutations import option_orders, permuted_questions, released_letters

    num_orders = runner.protocol.num_orders
    orders = [option_orders(question, num_orders, runner.seed) for question in questions]
    shown = [item for pair in zip(questions, orders, strict=True) for item in permuted_questions(*pair)]
    with closing(runner.answers(shown, directory, benchmark.location)) as answers_in_order:
        answers = [
            [released_letters(answer, question, order) for order in row for answer in next(answers_in_order)]
            for question, row in zip(questions, orders, strict=True)
        ]
    hashes = [text_sha256(runner.context(question)) for question in questions]
    return BenchmarkAnswers(benchmark, questions, answers, hashes, runner.protocol.second_pass)


def main() -> None:
    """Console entry point."""
    run_command("evaluate", _main, with_run)


def _main(config: EvaluateConfig) -> float:
    from hydra.core.hydra_config import HydraConfig

    from medssr.reports.render import print_scores
    from medssr.reports.runs import read_run

    artifact = evaluate(config)
    point_to(artifact, Path(HydraConfig.get().runtime.output_dir))
    results = json.loads(artifact.path("results.json").read_text(encoding="utf-8"))
    print_scores(results["benchmarks"])
    for name, mean in results["means"].items():
        accuracy = mean["accuracy"]
        if accuracy is None:
            log.warning("no mean %s: %s missing", name, ", ".join(mean["missing"]))
        else:
            log.info("mean %s: %.3f [%.3f, %.3f]", name, accuracy["value"], accuracy["low"], accuracy["high"])
    log.info("made %s", artifact.path("results.json"))
    return read_run(artifact.directory).objective


if __name__ == "__main__":
    main()
