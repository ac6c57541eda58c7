"""Writes queries of a knowledge graph, trains a policy to walk to their answers, and ranks the ends of its walks.

    python experiments/graph_walk/run.py FOLDER

Further words are overrides of the pipeline. `--entities` takes the graph of another list: "hpo" for the Human Phenotype
Ontology, with `--entity-setting orphanet_path=FILE` for Orphanet's names, genes, inheritance and onset.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

import medssr
from medssr.evaluation.ranking import HITS_AT, end_counts, hit_probability, rank_queries, reciprocal_rank
from medssr.evaluation.results_io import read_texts
from medssr.knowledge.facts import builtin_common_diseases
from medssr.knowledge.graph import graph_from_facts
from medssr.knowledge.graph.walks import WalkTask, read_walk
from medssr.questions import Question, read_questions, write_questions
from medssr.reports.paired_answers import evaluation_folder
from medssr.reports.render import markdown
from medssr.reports.runs import read_run
from medssr.statistics import clustered_bootstrap_interval
from medssr.synthesis.graph_questions.generator import HasGraph
from medssr.synthesis.graph_walks import Exploration, rarity_of, split_edges, write_queries
from medssr.utils.instantiate import instantiate

HELD_OUT_SHARE = 0.2
SEED = 0
# Sizes for a CPU and a tiny policy, which learns to copy names at a large learning rate alone.
SIZES = (
    "experiment=graph_walk",
    "schedule=graph_walk",
    "model.max_new_tokens=64",
    "sft.num_steps=300",
    "sft.num_rows_per_step=16",
    "sft_optim.optimizer.lr=1e-3",
    "grpo.num_steps=40",
    "grpo.num_prompts_per_step=12",
    "protocol.num_samples=16",
    "trainer=cpu",
    "logger=csv",
    "extras.progress_bar=false",
)


@dataclass(frozen=True)
class Ranked:
    """What ranks the ends of each query: a name, and the scores of the ends."""

    name: str
    scores: list[Mapping[str, float]]


def entity_list(name: str, settings: Sequence[str]) -> Any:
    """Returns an entity list by the name of its preset, with settings such as "orphanet_path=FILE"."""
    overrides = [f"entities={name}", *(f"entities.{setting}" for setting in settings)]
    return instantiate(medssr.compose("synthesize", overrides).entities, "entities")


def write_files(folder: Path, arguments: argparse.Namespace) -> tuple[Path, Path, int]:
    """Writes the queries of training and evaluation, and returns both files and the number of unreached queries."""
    files = folder / "walks_train.jsonl", folder / "walks_held_out.jsonl"
    note = folder / "queries.yaml"
    if not note.is_file():
        entities = entity_list(arguments.entities, arguments.entity_setting)
        diseases = entities.entities()
        if isinstance(entities, HasGraph):
            graph = entities.graph()
        else:
            diseases = [*diseases, *builtin_common_diseases()]
            graph = graph_from_facts(diseases)
        walked, trained, held_out = split_edges(graph, HELD_OUT_SHARE)
        rng = random.Random(SEED)
        counts: dict[str, Any] = {"walked": len(walked), "trained": len(trained), "held_out": len(held_out)}
        exploration = Exploration(arguments.num_walks, arguments.max_steps)
        numbers = arguments.num_queries, arguments.num_held_out
        for file, edges, number in zip(files, (trained, held_out), numbers, strict=True):
            asked = rng.sample(edges, len(edges))
            queries = write_queries(
                asked, walked, [*trained, *held_out], rarity_of(graph, diseases), exploration, number, SEED
            )
            write_questions(file, queries.questions)
            counts[file.stem] = {"questions": len(queries.questions), "unreached": queries.num_unreached}
        note.write_text(yaml.safe_dump(counts), encoding="utf-8")
    counts = yaml.safe_load(note.read_text(encoding="utf-8"))
    return *files, int(counts["walks_held_out"]["unreached"])


def shown_paths(task: WalkTask) -> dict[str, float]:
    """Returns how many of the shown paths end at each name over the relation that is asked for."""
    names = {edge.tail for edge in task.graph.edges if edge.relation == task.relation}
    paths = {name: task.graph.paths(task.head, name, task.max_steps) for name in sorted(names)}
    return {
        name: float(number)
        for name, walked_paths in paths.items()
        if (number := sum(bool(path) and path[-1].relation == task.relation for path in walked_paths))
    }


def walked_ends(task: WalkTask, texts: Sequence[str]) -> dict[str, float]:
    """Returns how many of a policy's walks end at each name; walks that leave the graph count for none."""
    walks = [read_walk(text, task) for text in texts]
    return end_counts([walk.end if walk.is_whole else None for walk in walks])


def table(questions: Sequence[Question], ranked: Sequence[Ranked], num_unreached: int) -> pd.DataFrame:
    """Returns Hits@k and the mean reciprocal rank of each way to rank, over the queries that the edges reach."""
    answers = [WalkTask.from_record(question.provenance["walk"]).tail for question in questions]
    metrics: dict[str, Callable[[Mapping[str, float], str], float]] = {
        f"Hits@{k}": lambda scores, answer, k=k: hit_probability(scores, answer, k)  # type: ignore[misc]
        for k in HITS_AT
    }
    metrics["MRR"] = reciprocal_rank
    rows = []
    for each in ranked:
        cells = {"ranked by": each.name}
        for name, metric in metrics.items():
            values = np.array([metric(*pair) for pair in zip(each.scores, answers, strict=True)])
            interval = clustered_bootstrap_interval(values, [question.content_key for question in questions], seed=0)
            cells[name] = f"{values.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]"
        cells["MRR of all queries"] = f"{rank_queries(each.scores, answers, num_unreached).reciprocal_rank:.3f}"
        rows.append(cells)
    return pd.DataFrame(rows)


def main() -> None:
    """Runs the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", help="overrides of the pipeline")
    parser.add_argument("--entities", default="builtin")
    parser.add_argument("--entity-setting", action="append", default=[])
    parser.add_argument("--num-queries", type=int, default=600, help="queries of training")
    parser.add_argument("--num-held-out", type=int, default=150, help="queries of the evaluation")
    parser.add_argument("--num-walks", type=int, default=6, help="random walks whose edges are shown")
    parser.add_argument("--max-steps", type=int, default=3)
    arguments = parser.parse_intermixed_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out, num_unreached = write_files(folder, arguments)
    files = [f"seed_questions.path={train}", "seed_questions=file", "benchmark=released", f"benchmark.path={held_out}"]
    run_dir = folder / "run"
    words = [*SIZES, *files, f"paths.root_dir={folder}", f"hydra.run.dir={run_dir}", *arguments.overrides]
    subprocess.run([sys.executable, "-m", "medssr.commands.pipeline", *words], check=True)

    questions = list(read_questions(held_out))
    tasks = [WalkTask.from_record(question.provenance["walk"]) for question in questions]
    ranked = [
        Ranked("chance", [dict.fromkeys(question.options.values(), 1.0) for question in questions]),
        Ranked("shown paths", [shown_paths(task) for task in tasks]),
    ]
    run = read_run(run_dir)
    for model in run.record.models:
        (benchmark,) = model.benchmarks
        texts = read_texts(evaluation_folder(run, model.name), benchmark, set(range(len(questions))))
        ranked.append(Ranked(model.name, [walked_ends(task, texts[index]) for index, task in enumerate(tasks)]))
    result = table(questions, ranked, num_unreached)
    (folder / "ranking.md").write_text(markdown(result), encoding="utf-8")
    print(
        markdown(result), f"{len(questions)} queries, and {num_unreached} that the shown edges do not reach", sep="\n"
    )


if __name__ == "__main__":
    main()
