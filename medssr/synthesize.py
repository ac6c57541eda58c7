"""medssr-synthesize: write new questions, a share of them about rare diseases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.config import SynthesizeConfig
from medssr.errors import InputError
from medssr.utils.entry import run_command

if TYPE_CHECKING:
    from medssr.questions import Question
    from medssr.synthesis.generators import Draft, Outcome, Rejection, SynthesisRequest

log = logging.getLogger(__name__)


def synthesize(config: SynthesizeConfig) -> Artifact:
    """Returns the artefact of questions without labels: `questions.jsonl`, and `rejected.jsonl` with reasons."""
    return Step("synthesize", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _write_questions(config, directory)
    )


def _write_questions(config: SynthesizeConfig, directory: Path) -> dict[str, Any]:
    from medssr.questions import Question, question_to_json
    from medssr.synthesis.distribution import Distribution
    from medssr.synthesis.slots import SynthesisTally, fill_slots
    from medssr.utils.files import open_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import track

    controls = config.synthesis
    tally, distribution = SynthesisTally(), Distribution(controls.rare_share)
    with (
        closing(instantiate(config.generator, "generator")) as generator,
        open_atomically(directory / "questions.jsonl") as questions,
        open_atomically(directory / "rejected.jsonl") as rejected,
    ):

        def accepted() -> Iterator[Question]:
            request, judge = _request_maker(config), _judge(config, generator.name)
            for attempt in fill_slots(
                controls.num_questions, controls.max_draws_per_question, generator, request, judge
            ):
                tally.count(attempt)
                if isinstance(attempt.verdict, Question):
                    yield attempt.verdict
                else:
                    rejected.write(attempt.rejection_line() + "\n")

        for question in track(accepted(), "synthesize", controls.num_questions, config.extras.progress_bar):
            questions.write(question_to_json(question) + "\n")
            distribution.add(question)
        if tally.num_questions == 0:
            raise InputError(f"synthesis: all {tally.rejected.total()} drafts were rejected ({dict(tally.rejected)}).")
        distribution.write(directory)
        return tally.counts(controls.rare_share) | {"usage": generator.usage()}


def _request_maker(config: SynthesizeConfig) -> Callable[[int, int], SynthesisRequest]:
    """Returns what makes the request for a slot and an attempt, with the passages retrieved for its entity."""
    from medssr.knowledge.entities import EntitySampler
    from medssr.questions import read_questions
    from medssr.synthesis.controls import QuestionPlan
    from medssr.synthesis.generators import SynthesisRequest
    from medssr.synthesis.prompts import build_synthesis_prompt, load_template
    from medssr.utils.instantiate import instantiate

    controls = config.synthesis
    sampler = EntitySampler(instantiate(config.entities, "entities").entities())
    plan = QuestionPlan(config.seed, controls.rare_share, sampler, list(read_questions(config.seeds.path)))
    retriever = instantiate(config.retriever, "retriever")
    retriever.index(instantiate(config.corpus, "corpus").passages())
    template = load_template(controls.prompt_path)

    def request(slot: int, attempt: int) -> SynthesisRequest:
        drawn = plan.draw(slot, attempt)
        hits = () if drawn.entity is None else tuple(retriever.search(drawn.entity.name, controls.top_k))
        prompt = build_synthesis_prompt(template, drawn.seed_questions, drawn.entity, hits, controls.num_options)
        return SynthesisRequest(drawn, hits, prompt)

    return request


def _judge(
    config: SynthesizeConfig, generator_name: str
) -> Callable[[SynthesisRequest, Outcome], Question | Rejection]:
    """Returns what accepts a draft as a question or says why not; it remembers what it has accepted."""
    from medssr.data.benchmarks import benchmark_files, load_benchmark
    from medssr.questions import read_questions
    from medssr.synthesis.filters import FilterLimits, check_draft
    from medssr.synthesis.generators import Rejection
    from medssr.synthesis.prompts import load_template, text_hash
    from medssr.synthesis.screening import Screen

    controls = config.synthesis
    limits = FilterLimits(
        num_options=controls.num_options,
        min_stem_words=controls.min_stem_words,
        max_stem_words=controls.max_stem_words,
        max_option_words=controls.max_option_words,
        max_copied_words=controls.max_copied_words,
    )
    benchmarks = (
        question for file in benchmark_files(controls.benchmark_path).values() for question in load_benchmark(file)
    )
    screen = Screen(benchmarks, seeds=read_questions(config.seeds.path))
    origin = {"generator": generator_name, "template_sha256": text_hash(load_template(controls.prompt_path))}

    def judge(request: SynthesisRequest, outcome: Outcome) -> Question | Rejection:
        if isinstance(outcome, Rejection):
            return outcome
        rejection = check_draft(outcome, request, limits)
        if rejection is not None:
            return rejection
        question = _question(request, outcome, origin)
        rejection = screen.check(question)
        if rejection is not None:
            return rejection
        screen.add(question)
        return question

    return judge


def _question(request: SynthesisRequest, draft: Draft, origin: dict[str, str]) -> Question:
    """Returns the draft as a question without an answer; what is known of the truth goes into the provenance."""
    from medssr.questions import Question
    from medssr.synthesis.prompts import text_hash

    drawn = request.draw
    provenance = {
        **origin,
        "attempt": drawn.attempt,
        "rho": drawn.rho,
        "is_injected": drawn.is_injected,
        "seeds": [seed.id for seed in drawn.seed_questions],
        "passages": [hit.passage.id for hit in request.hits],
        "prompt_sha256": text_hash(request.prompt),
        **draft.details,
    }
    if draft.truth is not None:
        provenance["truth"] = draft.truth
    return Question(
        id=f"synthetic-{drawn.slot:07d}",
        stem=draft.stem,
        options=draft.options,
        answer=None,
        source="synthetic",
        entity=draft.entity,
        is_rare=draft.is_rare,
        provenance=provenance,
    )


def main() -> None:
    """Console entry point."""
    run_command("synthesize", _main)


def _main(config: SynthesizeConfig) -> None:
    artifact = synthesize(config)
    counts = artifact.manifest["counts"]
    questions = artifact.path("questions.jsonl")
    log.info(
        "%d questions, %d of them about rare diseases (share with injected knowledge: asked %.4f, achieved %.4f); "
        "%d drafts rejected %s; %d questions missing %s; usage %s",
        *(
            counts[name]
            for name in (
                "num_questions",
                "num_rare",
                "asked_rare_share",
                "achieved_rare_share",
                "num_rejected",
                "rejected",
                "num_unfilled",
                "unfilled",
                "usage",
            )
        ),
    )
    log.info("made %s\nnext: medssr-pseudo-label data.path=%s", questions, questions)


if __name__ == "__main__":
    main()
