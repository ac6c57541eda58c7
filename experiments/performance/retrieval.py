"""Measures how long it takes to store, index and load a corpus, and to answer a query.

python experiments/performance/retrieval.py corpus.jsonl questions.jsonl [retriever preset ...]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import hydra
import numpy as np
from omegaconf import OmegaConf

from medssr.config import register
from medssr.config.catalog import CONF_DIR
from medssr.evaluation.retrieval import read_retrieval_questions
from medssr.knowledge.corpora import JsonlCorpus
from medssr.knowledge.retrieval import Retriever, store_passages
from medssr.utils.instantiate import instantiate

Result = TypeVar("Result")
REPETITIONS = 5
TOP_K = 32


def timed(what: str, task: Callable[[], Result]) -> Result:
    """Runs the task, prints its wall and CPU seconds, and returns its result; on a busy machine CPU time says more."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = task()
    print(f"{what}: {time.perf_counter() - wall:.2f} s ({time.process_time() - cpu:.2f} s of this process)")
    return result


def retriever_of(preset: str) -> Retriever:
    """Returns the retriever of a preset in conf/retriever."""
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = hydra.compose("retrieve", [f"retriever={preset}", "paths.root_dir=."])
    retriever = instantiate(OmegaConf.to_container(config.retriever), "retriever")
    assert isinstance(retriever, Retriever)
    return retriever


def print_query_times(retriever: Retriever, queries: list[str]) -> None:
    """Prints the time of ranking alone, and of ranking and reading the passages, over repeated queries."""
    retriever.search(queries[0], TOP_K)  # pages of the index are read from disk at the first query
    for what, task in (
        ("rank", lambda query: retriever.rank(query, TOP_K)),
        ("search", lambda query: retriever.search(query, TOP_K)),
    ):
        milliseconds = []
        for query in queries * REPETITIONS:
            start = time.perf_counter()
            task(query)
            milliseconds.append(1000 * (time.perf_counter() - start))
        middle, most = np.quantile(milliseconds, [0.5, 0.95])
        print(f"  {what}, {TOP_K} hits: median {middle:.2f} ms, 95% under {most:.2f} ms, {len(milliseconds)} queries")


def main() -> None:
    """Measures each preset in a separate folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("presets", nargs="*", default=["bm25", "fused"])
    arguments = parser.parse_args()
    register()
    corpus = JsonlCorpus(arguments.corpus, "doc_id", "title", "text", None, None, "synonyms")
    queries = [question.query for question in read_retrieval_questions(arguments.questions, ["summary"])]
    with tempfile.TemporaryDirectory() as folder:
        for preset in arguments.presets:
            index_dir = Path(folder) / preset
            print(preset)
            stored = timed("  store the corpus", lambda: store_passages(corpus, index_dir))  # noqa: B023 - called at once
            timed("  index", lambda: retriever_of(preset).index(stored))  # noqa: B023
            stored = timed("  find the stored corpus", lambda: store_passages(corpus, index_dir))  # noqa: B023
            retriever = retriever_of(preset)
            timed("  load the index", lambda: retriever.index(stored))  # noqa: B023
            print_query_times(retriever, queries)
            size = sum(file.stat().st_size for file in index_dir.rglob("*") if file.is_file())
            print(f"  {len(stored)} passages, {size / 2**20:.0f} MiB on disk")
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
