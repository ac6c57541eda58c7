"""Measures time and memory of reading a corpus, and of reading one that is ten times as large.

    python experiments/performance/corpora.py shared/data/medquad/documents.jsonl

The corpus is a JSONL file with the fields doc_id, focus, synonyms, answer and source. The larger corpus has ten
different variants of each document, which shows what grows with the corpus. Memory is the peak of what Python allocates
after the start.

On 2 busy CPU cores, MedQuAD's 10,819 answers took 4 to 12 s and 2.7 MiB, and ten times as many 73 s and 26.8 MiB: 260
bytes per document (ids and hashes), and no text.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from medssr.knowledge.corpora import Cleaning, JsonlCorpus

COPIES = 10


def read(path: Path) -> str:
    """Reads the corpus once for time and once for memory, and returns both as a line of text."""

    def corpus() -> JsonlCorpus:
        return JsonlCorpus(path, "doc_id", "focus", "answer", "source", 1000, "synonyms", Cleaning({}, 20))

    start = time.perf_counter()
    num_passages = sum(1 for _ in corpus().passages())
    seconds = time.perf_counter() - start
    tracemalloc.start()
    counted = corpus()
    for _ in counted.passages():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted.counts is not None
    num_documents = counted.counts.num_documents
    return (
        f"{num_documents:>8,} documents {num_passages:>8,} passages {seconds:6.1f} s {peak / 2**20:6.1f} MiB"
        f" {peak / num_documents:6.0f} bytes per document"
    )


def main() -> None:
    """Prints the figures of the corpus and of the larger corpus."""
    path = Path(sys.argv[1])
    print(f"{path.stat().st_size / 2**20:.1f} MiB: {read(path)}")
    with tempfile.TemporaryDirectory() as folder:
        larger = Path(folder) / "larger.jsonl"
        with path.open(encoding="utf-8") as lines, larger.open("w", encoding="utf-8") as stream:
            for line in lines:
                record = json.loads(line)
                for number in range(COPIES):
                    changed = {
                        "doc_id": f"{record['doc_id']}-{number}",
                        "answer": record["answer"].replace(" the ", f" the {number} "),
                    }
                    stream.write(json.dumps(record | changed) + "\n")
        print(f"{larger.stat().st_size / 2**20:.1f} MiB: {read(larger)}")


if __name__ == "__main__":
    main()
