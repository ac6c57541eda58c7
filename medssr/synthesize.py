"""medssr-synthesize: write new questions, a share of them about rare diseases."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Artifact, Step
from medssr.config import SynthesizeConfig
from medssr.errors import InputError
from medssr.utils.entry import run_command

if TYPE_CHECKING:
    from medssr.questions import Question
    from medssr.synthesis.generators import Draft, SynthesisRequest

log = logging.getLogger(__name__)


def synthesize(config: SynthesizeConfig) -> Artifact:
    """Returns the artefact of questions without labels: `questions.jsonl`, and `rejected.jsonl` with reasons."""
    return Step("synthesize", config, Path(config.paths.artifact_dir), config.force).run(
        lambda directory: _write_questions(config, directory)
    )


def _write_questions(config: SynthesizeConfig, directory: Path) -> dict[str, Any]:
    from medssr.data.benchmarks import benchmark_files, load_benchmark
    from medssr.questions import write_questions
    from medssr.synthesis.filters import FilterLimits, SeenQuestions, check_draft
    from medssr.synthesis.generators import Rejection
    from medssr.utils.files import write_lines_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import track

    controls = config.synthesis
    limits = FilterLimits(
        controls.num_options, controls.min_stem_words, controls.max_stem_words, controls.max_option_words
    )
    seen = SeenQuestions(
        question for file in benchmark_files(controls.benchmark_path).values() for question in load_benchmark(file)
    )
    generator = instantiate(config.generator, "generator")
    accepted: list[Question] = []
    rejected: list[str] = []
    reasons: Counter[str] = Counter()
    num_draws = controls.num_questions * controls.max_draws_per_question
    outcomes = track(
        generator.generate(_requests(config, num_draws)), "synthesize", num_draws, config.extras.progress_bar
    )
    for request, outcome in outcomes:
        rejection = outcome if isinstance(outcome, Rejection) else check_draft(outcome, limits)
        if rejection is None:
            question = _question(request, outcome)
            rejection = seen.check(question)
        if rejection is None:
            seen.add(question)
            accepted.append(question)
        else:
            reasons[rejection.reason] += 1
            rejected.append(json.dumps({"index": request.index} | asdict(rejection)))
        if len(accepted) == controls.num_questions:
            break
    if not accepted:
        raise InputError(f"synthesis: all {num_draws} drafts were rejected ({dict(reasons)}).")
    if len(accepted) < controls.num_questions:
        log.warning("synthesize: %d of %d questions after %d drafts", len(accepted), controls.num_questions, num_draws)
    write_questions(directory / "questions.jsonl", accepted)
    write_lines_atomically(directory / "rejected.jsonl", rejected)
    return {
        "num_questions": len(accepted),
        "num_rare": sum(question.is_rare is True for question in accepted),
        "num_injected": sum(question.provenance["is_injected"] for question in accepted),
        "num_rejected": len(rejected),
        "rejected": dict(reasons),
    }


def _requests(config: SynthesizeConfig, num_draws: int) -> Iterator[SynthesisRequest]:
    """Yields what is asked of the generator, one request a draw, with the passages retrieved for its entity."""
    from medssr.knowledge.entities import EntitySampler
    from medssr.knowledge.retrieval import store_passages
    from medssr.questions import read_questions
    from medssr.synthesis.controls import draw
    from medssr.synthesis.generators import SynthesisRequest
    from medssr.synthesis.prompts import build_synthesis_prompt, load_template
    from medssr.utils.instantiate import instantiate

    controls = config.synthesis
    seeds = list(read_questions(config.seeds.path))
    sampler = EntitySampler(instantiate(config.entities, "entities").entities())
    retriever = instantiate(config.retriever, "retriever")
    retriever.index(store_passages(instantiate(config.corpus, "corpus"), Path(config.paths.index_dir)))
    template = load_template(controls.prompt_path)
    for index in range(num_draws):
        drawn = draw(config.seed, index, controls.rare_share, sampler, seeds)
        hits = () if drawn.entity is None else tuple(retriever.search(drawn.entity.name, controls.top_k))
        prompt = build_synthesis_prompt(template, drawn.seed_questions, drawn.entity, hits, controls.num_options)
        yield SynthesisRequest(index, drawn, hits, prompt)


def _question(request: SynthesisRequest, draft: Draft) -> Question:
    """Returns the draft as a question without an answer; what is known of the truth goes into the provenance."""
    from medssr.questions import Question
    from medssr.synthesis.prompts import prompt_hash

    drawn = request.draw
    provenance = {
        "rho": drawn.rho,
        "is_injected": drawn.is_injected,
        "seeds": [seed.id for seed in drawn.seed_questions],
        "passages": [hit.passage.id for hit in request.hits],
        "prompt_sha256": prompt_hash(request.prompt),
        **draft.details,
    }
    if draft.truth is not None:
        provenance["truth"] = draft.truth
    return Question(
        id=f"synthetic-{request.index:07d}",
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
        "%d questions, %d of them about rare diseases; %d drafts rejected %s",
        *(counts[name] for name in ("num_questions", "num_rare", "num_rejected", "rejected")),
    )
    log.info("made %s\nnext: medssr-pseudo-label data.path=%s", questions, questions)


if __name__ == "__main__":
    main()
