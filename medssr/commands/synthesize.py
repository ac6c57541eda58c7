"""medssr-synthesize: write new questions, a fraction of them about rare diseases."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.artifacts import Step
from medssr.cli.entry import run_command
from medssr.config import SynthesizeConfig
from medssr.errors import InputError
from medssr.hub.dataset_card import write_dataset_card
from medssr.manifests import Artifact
from medssr.models.device import prepared_for
from medssr.reports.wandb_steps import log_step

if TYPE_CHECKING:
    from medssr.synthesis.plan import RequestMaker
    from medssr.synthesis.screening import DraftScreen

log = logging.getLogger(__name__)


def synthesize(config: SynthesizeConfig) -> Artifact:
    """Returns the artefact of questions without labels: `questions.jsonl`, and `rejected.jsonl` with reasons."""
    made = Step.of("synthesize", config).run(lambda directory: _run(config, directory))
    log_step(config, made)
    return made


def _run(config: SynthesizeConfig, directory: Path) -> dict[str, Any]:
    with prepared_for(config.extras, config.seed, generator=config.generator, retriever=config.retriever):
        return _write_questions(config, directory)


def _write_questions(config: SynthesizeConfig, directory: Path) -> dict[str, Any]:
    from medssr.questions import Question, question_to_json
    from medssr.synthesis.distribution import Distribution
    from medssr.synthesis.slots import SynthesisTally, fill_slots
    from medssr.utils.files import open_atomically
    from medssr.utils.instantiate import instantiate
    from medssr.utils.progress import Progress

    controls = config.synthesis
    tally, distribution = SynthesisTally(), Distribution(controls.rare_share)
    request, knowledge = _request_maker(config, directory)
    with (
        closing(instantiate(config.generator, "generator")) as generator,
        open_atomically(directory / "questions.jsonl") as questions,
        open_atomically(directory / "rejected.jsonl") as rejected,
        Progress("synthesize", controls.num_questions, "questions") as progress,
    ):
        screen, benchmarks = _draft_screen(config, generator.name)
        for attempt in fill_slots(controls.num_questions, controls.max_draws_per_question, generator, request, screen):
            tally.count(attempt)
            if isinstance(attempt.verdict, Question):
                questions.write(question_to_json(attempt.verdict) + "\n")
                distribution.add(attempt.verdict)
            else:
                rejected.write(attempt.rejection_line() + "\n")
            is_decided = attempt.is_last or isinstance(attempt.verdict, Question)
            progress.advance(int(is_decided), {"rejected drafts": tally.rejected.total()})
        if tally.num_questions == 0:
            raise InputError(f"synthesis: all {tally.rejected.total()} drafts were rejected ({dict(tally.rejected)}).")
        distribution.write(directory)
        write_dataset_card("synthesize", config, directory, tally.num_questions)
        return tally.counts(controls.rare_share) | {"usage": generator.usage()} | benchmarks | knowledge


def _request_maker(config: SynthesizeConfig, directory: Path) -> tuple[RequestMaker, dict[str, Any]]:
    """Returns the maker of requests, and the counts of corpus and entities for the manifest."""
    from medssr.knowledge.entities import EntitySampler, entity_coverage, in_split
    from medssr.knowledge.retrieval import store_passages
    from medssr.questions import read_questions
    from medssr.synthesis.plan import QuestionPlan, RequestMaker
    from medssr.synthesis.prompts import load_template
    from medssr.utils.files import write_json_atomically
    from medssr.utils.instantiate import instantiate

    controls = config.synthesis
    corpus = instantiate(config.corpus, "corpus")
    entity_list = instantiate(config.entities, "entities")
    entities = in_split(entity_list.entities(), controls.held_out_share, controls.split)
    seeds = list(read_questions(config.seed_questions.path))
    plan = QuestionPlan(config.seed, controls.num_questions, controls.rare_share, EntitySampler(entities), seeds)
    retriever = instantiate(config.retriever, "retriever")
    passages = store_passages(corpus, Path(config.paths.index_dir))
    retriever.index(passages)
    coverage = entity_coverage(entities, passages)
    write_json_atomically(directory / "entity_coverage.json", asdict(coverage))
    maker = RequestMaker(
        plan, retriever, load_template(controls.prompt_path), controls.num_passages, controls.num_options
    )
    knowledge = {
        "num_entities": coverage.num_entities,
        "num_entities_with_passages": coverage.num_covered,
        "entities_left_out": dict(entity_list.left_out),
    }
    return maker, knowledge | {"corpus": asdict(corpus.counts), "passages": passages.name}


def _draft_screen(config: SynthesizeConfig, generator_name: str) -> tuple[DraftScreen, dict[str, Any]]:
    """Returns the screen that accepts or rejects drafts, and the counts of the benchmarks for the manifest."""
    from medssr.benchmarks.reader import benchmark_files, load_benchmark
    from medssr.config import Split
    from medssr.questions import read_questions
    from medssr.synthesis.filters import FilterLimits
    from medssr.synthesis.prompts import load_template, text_hash
    from medssr.synthesis.screening import DraftScreen, RepeatScreen

    controls = config.synthesis
    limits = FilterLimits(
        num_options=controls.num_options,
        min_stem_words=controls.min_stem_words,
        max_stem_words=controls.max_stem_words,
        max_option_words=controls.max_option_words,
        max_copied_words=controls.max_copied_words,
    )
    files = {} if controls.benchmark_path is None else benchmark_files(controls.benchmark_path)
    benchmarks = (question for file in files.values() for question in load_benchmark(file))
    repeats = RepeatScreen(benchmarks, seeds=read_questions(config.seed_questions.path))
    origin = {"generator": generator_name, "template_sha256": text_hash(load_template(controls.prompt_path))}
    screen = DraftScreen(limits, repeats, origin, is_for_benchmark=controls.split is Split.held_out)
    return screen, {"benchmarks": repeats.benchmark_counts()}


# What to do about diseases that a generator without a language model knows too little of.
_NO_FACT = (
    "no_fact: generator=grounded asks about facts of the entity list, and reads no passages. entities=orphanet and hpo "
    "have facts of thousands of diseases; generator=openai, hf and vllm write from the passages of any corpus."
)


def main() -> None:
    """Console entry point."""
    run_command("synthesize", _main)


def _main(config: SynthesizeConfig) -> None:
    artifact = synthesize(config)
    counts = artifact.manifest["counts"]
    questions = artifact.path("questions.jsonl")
    log.info("%d questions, %d of them about rare diseases", counts["num_questions"], counts["num_rare"])
    log.info(
        "with injected knowledge: asked %.4f, which is %d of %d questions; reached %d of %d, which is %.4f",
        counts["asked_rare_share"],
        counts["asked_num_injected"],
        counts["num_questions"] + counts["num_unfilled"],
        counts["num_injected"],
        counts["num_questions"],
        counts["achieved_rare_share"],
    )
    log.info("%d drafts rejected %s", counts["num_rejected"], counts["rejected"])
    log.info(
        "compared with %d benchmark questions; %d have a stem without content and were compared by their options",
        *(counts["benchmarks"][name] for name in ("num_questions", "num_stems_without_content")),
    )
    if counts["num_unfilled"]:
        log.warning(
            "%d questions missing, %d of them with injected knowledge: %s",
            *(counts[name] for name in ("num_unfilled", "num_unfilled_injected", "unfilled")),
        )
        if "no_fact" in counts["unfilled"]:
            log.warning(_NO_FACT)
    log.info(
        "%d of %d diseases have passages in the corpus (%d passages)",
        *(counts[name] for name in ("num_entities_with_passages", "num_entities")),
        counts["corpus"]["num_passages"],
    )
    if counts["usage"]:
        log.info("usage %s", counts["usage"])
    log.info("made %s\nnext: medssr-pseudo-label data.path=%s", questions, questions)


if __name__ == "__main__":
    main()
