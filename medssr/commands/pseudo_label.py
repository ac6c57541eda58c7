"""medssr-pseudo-label: label questions by majority vote over the policy's answers."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.commands.checkpoint_settings import with_run
from medssr.config import PseudoLabelConfig
from medssr.errors import InputError
from medssr.hub.dataset_card import write_dataset_card
from medssr.manifests import Artifact
from medssr.models.device import prepared_process
from medssr.reports.wandb_steps import log_step

if TYPE_CHECKING:
    from medssr.config import LabelingConfig
    from medssr.engines.sampled_answers import SampledAnswer
    from medssr.labeling.votes import LabelOutcome, Vote
    from medssr.questions import Question

log = logging.getLogger(__name__)


def pseudo_label(config: PseudoLabelConfig) -> Artifact:
    """Returns the artefact of labelled questions: `questions.jsonl` (kept ones, with label) and `votes.jsonl` (all)."""
    made = Step.of("pseudo_label", config).run(lambda directory: _label_questions(config, directory))
    if made.manifest["counts"]["warning"] is not None:
        log.warning("%s\n%s", made.path("questions.jsonl"), made.manifest["counts"]["warning"])
    log_step(config, made)
    return made


def _label_questions(config: PseudoLabelConfig, directory: Path) -> dict[str, Any]:
    from medssr.questions import read_labelled_questions, read_questions, write_questions

    # Before torch is loaded, so that errors show fast.
    read = read_labelled_questions if config.labeling.uses_answer else read_questions
    questions = list(read(config.data.path))

    from medssr.labeling.unreadable import UnreadableAnswers
    from medssr.labeling.votes import LabelOutcome, label_accuracy_by_band, majority_vote
    from medssr.utils.files import write_lines_atomically

    labeling = config.labeling
    kept, vote_lines, labels_with_truth = [], [], []
    outcomes = Counter({outcome.value: 0 for outcome in LabelOutcome})
    unreadable, was_warned = UnreadableAnswers(labeling.max_new_tokens), False
    with closing(sampled_answers(config, questions, directory)) as answers_by_question:
        for question, answers in zip(questions, answers_by_question, strict=True):
            unreadable.add(answers)
            if unreadable.is_certain and not was_warned and (warning := unreadable.warning()) is not None:
                log.warning("%s", warning)
                was_warned = True
            vote = majority_vote([answer.letter for answer in answers])
            outcome, shares = _judged(question, vote, labeling)
            outcomes[outcome.value] += 1
            head, tail = {"question_id": question.id, "outcome": outcome.value}, {"valid_share": vote.valid_share}
            vote_lines.append(json.dumps(head | asdict(vote) | tail | shares))
            if outcome is LabelOutcome.kept:
                provenance = question.provenance | {"agreement": vote.agreement} | shares
                kept.append(replace(question, answer=_label(question, vote, labeling), provenance=provenance))
            # The true answer is compared with the vote afterwards, for the report only.
            if vote.label is not None and "truth" in question.provenance:
                assert vote.agreement is not None
                labels_with_truth.append((vote.agreement, vote.label == question.provenance["truth"]))
    if not kept:
        remedy = unreadable.warning() or "Widen the band of agreement or take another policy."
        raise InputError(f"labeling: no question of {config.data.path} got a label ({dict(outcomes)}). {remedy}")
    write_questions(directory / "questions.jsonl", kept)
    write_lines_atomically(directory / "votes.jsonl", vote_lines)
    write_dataset_card("pseudo_label", config, directory, len(kept))
    log.info("pseudo_label: %d of %d questions kept%s", len(kept), len(questions), _reasons(outcomes))
    with_truth = [question for question in kept if "truth" in question.provenance]
    return {
        "num_questions": len(questions),
        "num_kept": len(kept),
        "outcomes": dict(outcomes),
        "valid_share": unreadable.valid_share,
        "warning": unreadable.warning(),
        "bands": [asdict(band) for band in label_accuracy_by_band(labels_with_truth)] if labels_with_truth else [],
        "kept_with_truth": len(with_truth),
        "kept_right": sum(question.answer == question.provenance["truth"] for question in with_truth),
    }


def _reasons(outcomes: Mapping[str, int]) -> str:
    """Returns how many questions got no label, by the reason, as the end of a sentence.

    Example:
        >>> _reasons({"kept": 38, "tied": 2, "below_band": 0})
        '; not kept: 2 tied'
    """
    counts = [f"{number} {name.replace('_', ' ')}" for name, number in outcomes.items() if number and name != "kept"]
    return f"; not kept: {', '.join(counts)}" if counts else ""


def sampled_answers(
    config: PseudoLabelConfig, questions: Sequence[Question], directory: Path
) -> Generator[list[SampledAnswer]]:
    """Yields the policy's answers to each question; the engine is closed with the generator."""
    from medssr.engines.sampled_answers import AnswerSampler
    from medssr.engines.types import Sampling
    from medssr.models.device import use_gpu
    from medssr.models.policy import load_policy
    from medssr.utils.instantiate import instantiate

    labeling = config.labeling
    with prepared_process(config.extras, config.seed):
        policy = load_policy(config.model)
        engine = instantiate(config.rollout, "rollout", policy=policy)
        use_gpu(policy, is_gpu_free=not engine.fills_gpu)
        sampler = AnswerSampler(
            policy,
            engine,
            Sampling(labeling.temperature, labeling.max_new_tokens, has_logps=False),
            labeling.num_votes,
            config.seed,
            "votes",
            labeling.questions_per_chunk,
        )
        with closing(engine):
            yield from sampler.sample(questions, directory / "answers", config.data.path)


def _judged(question: Question, vote: Vote, labeling: LabelingConfig) -> tuple[LabelOutcome, dict[str, float]]:
    """Returns whether a question is kept, and its pass rate if that decides, by name."""
    from medssr.labeling.votes import label_outcome, pass_rate, pass_rate_outcome

    band = labeling.min_agreement, labeling.max_agreement, labeling.min_valid_share
    if not labeling.uses_answer:
        return label_outcome(vote, *band), {}
    assert question.answer is not None, "all questions have been read as labelled ones"
    return pass_rate_outcome(vote, question.answer, *band), {"pass_rate": pass_rate(vote, question.answer)}


def _label(question: Question, vote: Vote, labeling: LabelingConfig) -> str | None:
    """Returns the label of a question that is kept."""
    if labeling.uses_answer:
        return question.answer
    return _truth(question) if labeling.uses_truth else vote.label


def _truth(question: Question) -> str:
    """Returns the letter of the true answer.

    Raises:
        InputError: When the question has no hidden truth.
    """
    if "truth" not in question.provenance:
        raise InputError(
            f"labeling.uses_truth: question {question.id!r} has no known truth; only built-in questions have one."
        )
    return str(question.provenance["truth"])


def main() -> None:
    """Console entry point."""
    run_command("pseudo_label", _main, with_run)


def _main(config: PseudoLabelConfig) -> None:
    artifact = pseudo_label(config)
    questions = artifact.path("questions.jsonl")
    log.info("made %s\nnext: medssr-train data.path=%s", questions, questions)


if __name__ == "__main__":
    main()
