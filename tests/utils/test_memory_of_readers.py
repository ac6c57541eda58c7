"""What a reader needs of memory is bounded by the size of the file, whatever it unpacks to."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import run_program

from medssr.errors import InputError
from medssr.utils.text_files import _read_whole

pytestmark = pytest.mark.slow

MIB = 2**20
# Reads a file in a process whose memory and CPU time have limits that only a runaway reader reaches, and prints what
# came of it and by how many MiB its memory has grown.
PROGRAM = """
import resource, sys
sys.path.insert(0, {tests!r})
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
from pathlib import Path
from medssr.errors import InputError
{prepare}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_DATA, (16 * 2**30, 16 * 2**30))
try:
    outcome = {read}
except InputError as error:
    outcome = f"InputError: {{error}}"
print(str(outcome).splitlines()[0][:300])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
RECORDS = "from medssr.utils.records import open_records\nimport pyarrow.parquet, pyarrow.ipc"
COUNT = "sum(1 for _ in open_records(Path({path!r})))"


def outcome(path, prepare=RECORDS, read=COUNT) -> tuple[str, int]:
    """What came of reading a file, and by how many MiB the memory of its process has grown."""
    tests = str(Path(__file__).parents[1])
    program = PROGRAM.format(tests=tests, prepare=prepare, read=read.format(path=str(path)))
    text, growth = run_program(program).splitlines()[-2:]
    return text, int(growth)


def write_bomb(path, unit: bytes, num_mib: int) -> None:
    """A gzip file of about a thousandth of what it unpacks to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = (unit * (MIB // len(unit) + 1))[:MIB]
    with path.open("wb") as stream:
        for _ in range(num_mib):
            stream.write(packer.compress(block))
        stream.write(packer.flush())


@pytest.mark.parametrize(("name", "unit"), [("a.jsonl.gz", b" "), ("a.json.gz", b"["), ("a.csv.gz", b"a,b\n")])
def test_a_gzip_bomb_is_refused(tmp_path, name, unit):
    path = tmp_path / name
    write_bomb(path, unit, 600)
    text, growth = outcome(path)
    assert text.endswith("unpacks to more than 100 times its size, as no text does; unpack it yourself.")
    assert growth < 300


@pytest.mark.parametrize("num_mib", [50, 70])
def test_a_long_line_takes_a_few_times_its_size(tmp_path, num_mib):
    path = tmp_path / "long.jsonl"
    path.write_text('{"id": "short"}\n' + json.dumps({"id": "long", "stem": "x" * (num_mib * MIB)}) + "\n")
    text, growth = outcome(path)
    assert text == "2" if num_mib == 50 else "line 2: is longer than 64 MiB" in text
    assert growth < 6 * num_mib


def test_one_text_in_every_row_of_a_table_is_not_unpacked_as_a_whole(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": pa.array(["x" * MIB]).take(pa.array([0] * 1500))}), path)
    assert path.stat().st_size < 100 * MIB
    text, growth = outcome(path)
    assert text == "1500"
    assert growth < 900


def test_a_question_that_cannot_fit_is_not_tokenised(tmp_path):
    path = tmp_path / "long.jsonl"
    question = {"id": "q7", "stem": "word " * (10 * MIB), "options": {"A": "liver", "B": "heart"}, "answer": "A"}
    path.write_text(json.dumps(question) + "\n")
    prepare = """
from support.helpers import random_policy
from medssr.questions import read_labelled_questions
policy = random_policy("qwen3")
policy.encode(["Which?"], 8, "x")
"""
    read = "policy.encode(read_labelled_questions({path!r}), 8, {path!r})"
    text, growth = outcome(path, prepare, read)
    assert text.startswith(f'InputError: {path}, field "stem": the prompt of question "q7" has 524')
    assert growth < 1000


def test_a_gzip_file_of_ordinary_text_is_read(tmp_path):
    path = tmp_path / "many.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        for number in range(20_000):
            stream.write(json.dumps({"id": number, "text": f"Disease {number} affects organ {number % 97}."}) + "\n")
    assert outcome(path)[0] == "20000"


def test_a_file_that_is_read_whole_has_a_limit_also_where_it_is_packed(tmp_path, monkeypatch):
    monkeypatch.setattr("medssr.utils.text_files._MAX_WHOLE_BYTES", 10 * MIB)
    with pytest.raises(InputError, match="too many to be read at once; give it as JSONL"):
        _read_whole(io.BufferedReader(Endless()), tmp_path / "a.csv.gz")


class Endless(io.RawIOBase):
    """Blanks without end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return len(buffer)
