"""A corpus of files that are broken, hostile or merely odd, and the readers of everything that users give."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medssr.auditing.sheet import read_sheet
from medssr.benchmarks import load_benchmark
from medssr.evaluation.retrieval import read_relevance_judgements, read_retrieval_questions
from medssr.knowledge.corpora import JsonlCorpus, MedQuadCorpus
from medssr.knowledge.entities import (
    ListEntities,
    MondoEntities,
    OrphanetEntities,
    OrphanetGhrEntities,
    TableEntities,
)
from medssr.knowledge.facts import read_fact_table
from medssr.knowledge.ghr import read_ghr
from medssr.models.prompts import read_prompt_template
from medssr.questions import Question, read_questions
from medssr.synthesis.prompts import load_template
from medssr.training.demonstrations import FileDemonstrations
from medssr.utils.records import open_records

# A record that is right for some reader, by what it is for.
RECORDS: dict[str, dict[str, Any]] = {
    "question": {"id": "q", "stem": "Which organ?", "options": {"A": "liver", "B": "heart"}, "answer": "A"},
    "released": {"id": "q", "question": "Which organ?", "options": {"A": "liver", "B": "heart"}, "answer_idx": "A"},
    "indexed": {"id": "q", "question": "Which organ?", "opa": "liver", "opb": "heart", "cop": 2},
    "demonstration": {
        "id": "q",
        "stem": "Which organ?",
        "options": {"A": "liver", "B": "heart"},
        "answer": "A",
        "completion": "A.",
    },
    "document": {"id": "d", "title": "Liver", "text": "It is an organ.", "source": "s", "synonyms": ["hepar"]},
    "medquad": {
        "doc_id": "d",
        "source": "GHR",
        "focus": "Liver",
        "synonyms": [],
        "qtype": "inheritance",
        "answer": "x",
    },
    "entity": {"name": "Fabry disease", "synonyms": "Anderson-Fabry", "weight": 1.5},
    "mondo": {"ID": "MONDO:1", "LABEL": "Fabry disease", "SYNONYMS": "Anderson-Fabry"},
    "orphanet": {
        "orphacode": "324",
        "label": "Fabry disease",
        "type": "Disease",
        "synonyms": [],
        "point_prevalence": ["<1 / 1 000 000"],
        "genes": [{"symbol": "GLA", "association": "Disease-causing germline mutation(s) in"}],
        "inheritance": ["X-linked recessive"],
        "onset": ["Childhood"],
    },
    "fact": {"name": "Fabry disease", "is_rare": True, "facts": {"gene": {"value": "GLA", "source": "Orphanet"}}},
    "judgement": {"question_id": "q", "doc_id": "d", "grade": 2},
    "query": {"question_id": "q", "summary": "Which organ?", "message": "Tell me."},
}
# What may stand in a field in place of what belongs there.
VALUES: tuple[str, ...] = (
    *("null", "true", "0", "-1", "1.5", "1e308", "1e999", "9" * 400, "-" + "9" * 400, "9" * 10_000, "NaN"),
    *('""', '" "', '"A"', '"x"', '"\\ud800"', '"\\u0000"', '"' + "9" * 5000 + '"', '"\u0663"', '"nan"', '"1e400"'),
    *(
        "[]",
        "[[]]",
        "[null]",
        '["x", 3]',
        "{}",
        '{"A": {}}',
        '{"A": null, "B": null}',
        '{"\\ud800": "x"}',
        '[{"A": 1}]',
    ),
    "[" * 900 + "]" * 900,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    '["' + '", "'.join(f"option {number}" for number in range(5000)) + '"]',
    "{" + ", ".join(f'"{number}": "option {number}"' for number in range(5000)) + "}",
    '"' + "x" * 200_000 + '"',
)
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".json.gz", ".txt", ".obo", ".xml", "")


def consumed(items: Any) -> list[Any]:
    """All that a reader yields."""
    return list(items)


READERS: dict[str, Callable[[Path], Any]] = {
    "records": lambda path: consumed(open_records(path)),
    "questions": lambda path: consumed(read_questions(path)),
    "benchmark": load_benchmark,
    "demonstrations": lambda path: FileDemonstrations(path).draw(0),
    "corpus": lambda path: consumed(JsonlCorpus(path, "id", "title", "text", "source", 100, "synonyms").passages()),
    "medquad": lambda path: consumed(MedQuadCorpus(path, 100, None).passages()),
    "list": lambda path: ListEntities(path).entities(),
    "table": lambda path: TableEntities(path, "name", "synonyms", "|", "weight").entities(),
    "mondo": lambda path: MondoEntities(path, None).entities(),
    "gard": lambda path: MondoEntities(path, path).entities(),
    "orphanet": lambda path: OrphanetEntities(path, True, True).entities(),
    "orphanet_ghr": lambda path: OrphanetGhrEntities(path, path, True, False).entities(),
    "facts": read_fact_table,
    "ghr": read_ghr,
    "queries": lambda path: read_retrieval_questions(path, ("summary", "message")),
    "judgements": lambda path: consumed(read_relevance_judgements(path)),
    "prompt": read_prompt_template,
    "sheet": lambda path: read_sheet(path, {"q": Question(**RECORDS["question"], source="s")}),
    "template": lambda path: load_template(path, "synthesis.prompt_path"),
}


# The readers of each kind of record, beside that of records of any kind.
READERS_OF = {
    **dict.fromkeys(["question", "released", "indexed"], ("questions", "benchmark")),
    "demonstration": ("demonstrations",),
    "document": ("corpus",),
    "medquad": ("medquad", "ghr"),
    "entity": ("table",),
    "mondo": ("mondo", "gard"),
    "orphanet": ("orphanet", "orphanet_ghr"),
    "fact": ("facts",),
    "judgement": ("judgements",),
    "query": ("queries",),
}


def contents() -> Iterator[tuple[str, bytes]]:
    """Yields what a file of any ending may hold, with a name."""
    good = [json.dumps(record) for record in RECORDS.values()]
    yield "empty", b""
    yield "blank", b" \n\r\n\t\n"
    yield "NUL", b"\0" * 100
    yield "BOM alone", b"\xef\xbb\xbf"
    yield "UTF-16 BOM alone", b"\xff\xfe"
    yield "UTF-16 of an odd length", good[0].encode("utf-16")[:-1]
    yield "UTF-16, half a pair", b"\xff\xfe" + '{"id": "'.encode("utf-16-le") + b"\x00\xd8" + '"}'.encode("utf-16-le")
    yield "UTF-32", good[0].encode("utf-32")
    yield "random bytes", bytes(range(256)) * 8
    yield "deep arrays", b"[" * 100_000
    yield "deep closed arrays", b"[" * 100_000 + b"]" * 100_000
    yield "deep objects", b'{"a":' * 100_000
    yield "deep closed objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "deep below a record", f"{good[0]}\n{'[' * 100_000}".encode()
    yield "a number", b"1" * 10_000
    yield "a text", b'"a"'
    yield "quotes", b'"' * 10_001
    yield "commas", b"," * 10_000
    yield "a header alone", b"id,question,A,B,answer\n"
    yield "a repeated header", b"question,question,A,B\nx,y,z,A\n"
    yield "bold lines", b"A. x\nB. y\n" * 1000
    yield "an HTML page", b"<!DOCTYPE html><html></html>"
    yield "a bomb of entities", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    yield "deep XML", b"<a>" * 20_000
    yield "a broken gzip", gzip.compress(good[0].encode())[:-9]
    yield "gzip with a wrong checksum", gzip.compress(good[0].encode())[:-8] + b"\0" * 8
    yield "gzip in gzip", gzip.compress(gzip.compress(good[0].encode()))


def damaged_records(kind: str) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """Yields files of a kind of record, most of them damaged: name, content, and the endings that fit."""
    record = RECORDS[kind]
    text = json.dumps(record)
    json_files, tables = (".json", ".jsonl"), (".csv", ".tsv")
    yield "good", text.encode(), json_files
    yield "CRLF", f"{text}\r\n{text}\r\n".encode(), json_files
    yield "BOMs", f"\ufeff{text}\n\ufeff{text}\n".encode(), json_files
    yield "UTF-16", text.encode("utf-16"), (*json_files, *tables)
    yield "cut", text.encode()[: len(text) // 2], (*json_files, *tables)
    yield "a list cut", f"[{text}, {text[:-5]}".encode(), json_files
    yield "wrong bytes", text.encode() + b"\n\xff\xfe\xfa\n", (*json_files, *tables)
    yield "a field twice", f'{{"{next(iter(record))}": 1, {text[1:]}'.encode(), json_files
    yield "5000 more fields", (text[:-1] + "".join(f', "f{i}": {i}' for i in range(5000)) + "}").encode(), json_files
    yield "table", table_bytes(record, ","), tables
    yield "open quote", table_bytes(record, ",") + b'"open, quote\n', tables
    yield "tab-separated", table_bytes(record, "\t"), tables
    for is_parquet in (True, False):
        data, endings = arrow_bytes(record, is_parquet=is_parquet), (".parquet", ".arrow")
        yield f"Parquet: {is_parquet}", data, endings
        for length in (4, 8, 40, len(data) // 2, len(data) - 9):
            yield f"Parquet: {is_parquet}, cut to {length}", data[:length], endings
        for place in range(0, len(data), max(1, len(data) // 20)):
            flipped = data[:place] + b"\xa5" + data[place + 1 :]
            yield f"Parquet: {is_parquet}, another byte at {place}", flipped, endings


def odd_records(kind: str) -> Iterator[tuple[str, bytes]]:
    """Yields JSON records of a kind with each odd value in each field, and without each field."""
    record = RECORDS[kind]
    for field in record:
        rest = "".join(f", {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != field)
        yield f"without {field}", f"{{{rest[2:]}}}".encode()
        for value in VALUES:
            yield f"{field} = {value[:20]}", f'{{"{field}": {value}{rest}}}'.encode()


def table_bytes(record: dict[str, Any], delimiter: str) -> bytes:
    """A table of one row, whose cells are JSON where a value is no text."""
    cells = [value if isinstance(value, str) else json.dumps(value).replace('"', "'") for value in record.values()]
    return f"{delimiter.join(record)}\n{delimiter.join(cells)}\n".encode()


def arrow_bytes(record: dict[str, Any], *, is_parquet: bool) -> bytes:
    """A file of one row."""
    table = pa.Table.from_pylist([record])
    stream = io.BytesIO()
    if is_parquet:
        pq.write_table(table, stream)
    else:
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
    return stream.getvalue()
