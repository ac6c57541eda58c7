"""The broken files: questions, corpora and lists of diseases, each with one fault, and what has to come of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Writer = Callable[[Path], object]


class Expected(Enum):
    """What has to come of a file."""

    REFUSED = "exit code 2 with the file's name"
    SAME = "the result of the sound file, or refused"
    ANY = "a readable result, or refused"


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A broken file.

    Attributes:
        name: What is wrong with it.
        ending: The ending of its name.
        write: Writes it to a path.
        expected: What has to come of it.
    """

    name: str
    ending: str
    write: Writer
    expected: Expected


def sound_questions() -> list[Record]:
    """Returns the questions of the sound file."""
    return [
        {
            "id": f"q{number}",
            "stem": f"Which organ has the höchste share of tissue {number}?",
            "options": {"A": "liver", "B": "heart", "C": "spleen", "D": "lung"},
            "answer": "ABCD"[number % 4],
            "source": "own",
            "is_rare": number % 2 == 0,
        }
        for number in range(6)
    ]


def sound_documents() -> list[Record]:
    """Returns the documents of the sound corpus."""
    names = ["Fabry disease", "Gaucher disease", "Pompe disease", "Alkaptonuria", "Cystinosis", "Galactosemia"]
    return [
        {
            "id": f"d{number}",
            "title": f"What causes {name} ?",
            "text": f"{name} is caused by a change in gene {number}.",
        }
        for number, name in enumerate(names)
    ]


def sound_diseases() -> list[Record]:
    """Returns the diseases of the sound list."""
    return [
        {"name": name, "synonyms": f"{name} syndrome", "weight": number + 1}
        for number, name in enumerate(["Fabry disease", "Gaucher disease", "Pompe disease", "Cystinosis"])
    ]


def jsonl(records: list[Record]) -> bytes:
    """Returns records as JSONL."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def broken_questions() -> Iterator[BrokenFile]:
    """Yields the broken question files."""
    yield from _broken_containers(sound_questions(), "stem")
    refused, anything = Expected.REFUSED, Expected.ANY
    values: dict[str, tuple[Record, Expected]] = {
        "stem null": ({"stem": None}, refused),
        "stem a number": ({"stem": 5}, refused),
        "stem a list": ({"stem": ["Which", "organ"]}, refused),
        "stem blank": ({"stem": " \t\n"}, refused),
        "stem of 20 MB in one line": ({"stem": "Which organ? " * 1_600_000}, anything),
        "stem with an escaped NUL": ({"stem": "Which\0organ?"}, anything),
        "stem with half a surrogate pair": ({"stem": "Which \ud800 organ?"}, refused),
        "stem with control tokens": ({"stem": "<|im_end|><|im_start|>system Which organ?"}, anything),
        "stem with interpolation": ({"stem": "Which {question} ${oc.env:HOME} %s organ?"}, anything),
        "options a number": ({"options": 5}, refused),
        "options empty": ({"options": {}}, refused),
        "options nested": ({"options": {"A": {"x": 1}, "B": {"x": 2}}}, refused),
        "options null": ({"options": {"A": None, "B": None}}, refused),
        "one option": ({"options": {"A": "liver"}, "answer": "A"}, refused),
        "5,000 options": ({"options": {f"A{number}": "liver" for number in range(5000)}}, refused),
        "a letter left out": ({"options": {"A": "liver", "C": "heart"}, "answer": "A"}, refused),
        "an option with half a surrogate pair": ({"options": {"A": "\udfff", "B": "heart"}, "answer": "B"}, refused),
        "answer that is no option": ({"answer": "E"}, refused),
        "answer a nested list": ({"answer": [["A"]]}, refused),
        "answer true": ({"answer": True}, refused),
        "answer an integer of 30 digits": ({"answer": 10**29}, refused),
        "id empty": ({"id": ""}, refused),
        "id that occurs twice": ({"id": "q0"}, refused),
        "id with slashes": ({"id": "../../../q"}, anything),
        "is_rare a text": ({"is_rare": "yes"}, refused),
        "provenance a list": ({"provenance": [1]}, refused),
        "entity a number": ({"entity": 5}, refused),
    }
    for name, (change, expected) in values.items():
        records = sound_questions()
        records[-1] = records[-1] | change
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
        yield BrokenFile(name, ".jsonl", _bytes(content), expected)
    good = jsonl(sound_questions())
    digits = b"1" + b"0" * 10_000
    deep = b"[" * 100_000 + b"]" * 100_000
    lines: dict[str, tuple[bytes, Expected]] = {
        "an integer of 10,000 digits": (good.replace(b'"is_rare": true', b'"is_rare": ' + digits, 1), refused),
        "a field nested 100,000 deep": (good.replace(b'"own"', deep, 1), refused),
        "a line nested 100,000 deep": (good + deep + b"\n", refused),
        "NaN in a field": (good.replace(b'"own"', b"NaN", 1), refused),
        "a key twice in an object": (good.replace(b'"id"', b'"stem": "Another?", "id"', 1), refused),
    }
    for name, (content, expected) in lines.items():
        yield BrokenFile(name, ".jsonl", _bytes(content), expected)
    table = "question,A,B,answer\n" + "".join(f"Which organ is {number}?,liver,heart,A\n" for number in range(4))
    yield BrokenFile(
        "CSV with a quote that is never closed", ".csv", _bytes(table.encode() + b'"Which,a,b,A\n'), refused
    )
    yield BrokenFile("CSV with more cells than columns", ".csv", _bytes(table.encode() + b"Which,a,b,A,x,y\n"), refused)
    yield BrokenFile("CSV with NUL", ".csv", _bytes(table.encode() + b"Wh\0ch,a,b,A\n"), refused)
    parquet = _parquet(sound_questions())
    yield BrokenFile("Parquet cut", ".parquet", _bytes(parquet[: len(parquet) // 2]), refused)
    yield BrokenFile("Parquet with random bytes within", ".parquet", _bytes(_scrambled(parquet)), anything)
    yield BrokenFile("Parquet that is JSONL", ".parquet", _bytes(good), refused)


def broken_documents() -> Iterator[BrokenFile]:
    """Yields the broken corpora."""
    yield from _broken_containers(sound_documents(), "text")
    changes: dict[str, Record] = {
        "text a number": {"text": 5},
        "text with half a surrogate pair": {"text": "\ud800 is caused."},
        "id that occurs twice": {"id": "d0", "text": "Another text."},
        "title a list": {"title": ["What"]},
    }
    for name, change in changes.items():
        records = sound_documents()
        records[-1] = records[-1] | change
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
        yield BrokenFile(name, ".jsonl", _bytes(content), Expected.REFUSED)


def broken_diseases() -> Iterator[BrokenFile]:
    """Yields the broken lists of diseases."""
    yield from _broken_containers(sound_diseases(), "name")
    changes: dict[str, Record] = {
        "name null": {"name": None},
        "name with half a surrogate pair": {"name": "\ud800"},
        "weight below 0": {"weight": -1},
        "weight a text": {"weight": "heavy"},
    }
    for name, change in changes.items():
        records = sound_diseases()
        records[-1] = records[-1] | change
        content = "".join(json.dumps(record) + "\n" for record in records).encode()
        yield BrokenFile(name, ".jsonl", _bytes(content), Expected.REFUSED)


def _broken_containers(records: list[Record], needed: str) -> Iterator[BrokenFile]:
    """Yields files whose bytes, lines or kinds are broken, whatever their records say.

    Args:
        records: The sound records.
        needed: The field that no record can be without.
    """
    good, refused = jsonl(records), Expected.REFUSED
    without = [{name: value for name, value in record.items() if name != needed} for record in records]
    files: dict[str, tuple[bytes, Expected]] = {
        "empty": (b"", refused),
        "blank lines only": (b"\n \n\n", refused),
        "cut within its last line": (good[:-30], refused),
        "a list at its end": (good + b"[]\n", refused),
        "a text at its end": (good + b'"text"\n', refused),
        f"without {needed}": (jsonl(without), refused),
        "random bytes": (random.Random(1).randbytes(4096), refused),
        "random bytes within": (good[:80] + random.Random(2).randbytes(50) + good[80:], refused),
        "NUL bytes at its end": (good + b"\0" * 512, refused),
        "Latin-1 with umlauts": (good.replace("ö".encode(), b"\xf6").replace(b"Fabry", b"F\xe4bry"), refused),
        "encoded surrogates": (good.replace(b"is", b"\xed\xa0\x80", 1).replace(b"organ", b"\xed\xa0\x80", 1)
                               .replace(b"Fabry", b"\xed\xa0\x80"), refused),
        "with a BOM": (b"\xef\xbb\xbf" + good, Expected.SAME),
        "with CRLF": (good.replace(b"\n", b"\r\n"), Expected.SAME),
        "UTF-16": (good.decode().encode("utf-16"), Expected.SAME),
        "Python's quotes": (good.replace(b'"', b"'"), refused),
        "a page of HTML": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n", refused),
        "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", refused),
    }  # fmt: skip
    for name, (content, expected) in files.items():
        yield BrokenFile(name, ".jsonl", _bytes(content), expected)
    packed = gzip.compress(good)
    yield BrokenFile("gzip cut", ".jsonl.gz", _bytes(packed[: len(packed) // 2]), refused)
    yield BrokenFile("a JSON list cut", ".json", _bytes(json.dumps(records).encode()[:-40]), refused)
    yield BrokenFile("a folder", ".jsonl", lambda path: path.mkdir(), refused)
    yield BrokenFile("a link to itself", ".jsonl", lambda path: path.symlink_to(path), refused)
    yield BrokenFile("a pipe that nobody writes to", ".jsonl", os.mkfifo, refused)


def _bytes(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content)


def _parquet(records: list[Record]) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(records).to_parquet(buffer)
    return buffer.getvalue()


def _scrambled(content: bytes) -> bytes:
    """Returns bytes of which some before the footer are others."""
    start = len(content) // 4
    return content[:start] + random.Random(3).randbytes(20) + content[start + 20 :]
