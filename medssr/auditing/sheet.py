"""The sheet that human experts fill in: written as CSV and as an HTML page, and read back."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from medssr.auditing.rubric import CRITERIA, RATINGS, REQUIRED, Kind, Verdict, verdict_from_record
from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.questions import FieldError, Question, render_question
from medssr.synthesis.prompts import text_hash
from medssr.utils.files import open_atomically
from medssr.utils.text_files import read_text

KEY_COLUMNS = ("id", "text_key")
SHOWN_COLUMNS = ("question", "passages")
VERDICT_COLUMNS = tuple(item.name for item in CRITERIA)

_DELIMITERS = (",", ";", "\t")
_YES_NO = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}
_RATING = re.compile(r"(\d)(?:[.,]0+)?")
# A spreadsheet runs a cell that starts so (OWASP, "CSV injection"). A quotation mark before it makes it text; quotation
# marks that stand there already get one more, so that taking one away restores every text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001
# A spreadsheet takes no more characters in a cell.
_LONGEST_CELL = 32_000


def write_sheet(path: Path, rows: Sequence[tuple[Question, Sequence[Passage]]]) -> None:
    """Writes the sheet with empty cells for the verdicts. Answers and provenance are not in it."""
    with open_atomically(path) as stream:
        stream.write("\ufeff")  # without which Excel does not take the file for UTF-8
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*KEY_COLUMNS, *SHOWN_COLUMNS, *VERDICT_COLUMNS])
        for question, passages in rows:
            text = "\n\n".join(f"{passage.title}: {passage.text}" for passage in passages)
            cells = [question.id, text_key(question), render_question(question), text]
            writer.writerow([escape_cell(cell) for cell in cells] + [""] * len(VERDICT_COLUMNS))


def read_sheet(path: Path, questions: Mapping[str, Question]) -> dict[str, Verdict]:
    """Returns the verdicts of a filled sheet by question id; rows that nobody has rated are left out.

    Comma, semicolon or tab may separate the cells, whichever the header has; the columns of the question itself may be
    absent. A comment alone is no verdict.

    Args:
        path: The sheet, as `write_sheet` or the page made it and an expert filled it in.
        questions: The questions of the sample by id.

    Raises:
        InputError: When the file is absent, no UTF-8 or no CSV, a column is missing, unknown or there twice, a question
            is unknown, changed or there twice, or a row lacks an answer or has a wrong one. The message names file,
            line and field.
    """
    verdicts: dict[str, Verdict] = {}
    line_of_id: dict[str, int] = {}
    for line, row in _read_rows(path):
        question = _question(row, questions, path, line)
        if question.id in line_of_id:
            problem = f'"{question.id}" is on line {line_of_id[question.id]} already; keep one of the rows.'
            raise InputError.at(path, problem, line=line, field="id")
        line_of_id[question.id] = line
        answers = {name: row[name].strip() for name in VERDICT_COLUMNS}
        if not any(answer for name, answer in answers.items() if name != "comment"):
            continue
        try:
            verdicts[question.id] = verdict_from_record(_decoded(answers), list(question.options))
        except FieldError as error:
            problem = f'{error.problem} (question "{question.id}")'
            raise InputError.at(path, problem, line=line, field=error.field) from error
    return verdicts


def text_key(question: Question) -> str:
    """Returns a hash of the question's text that starts with a letter, so that no spreadsheet takes it for a number."""
    return "t" + text_hash(render_question(question))[:16]


def escape_cell(text: str) -> str:
    """Returns the text as a cell that no spreadsheet takes for a formula, cut where it is too long for one.

    Example:
        >>> escape_cell("=1+1"), unescape_cell(escape_cell("=1+1"))
        ("'=1+1", '=1+1')
    """
    if len(text) > _LONGEST_CELL:
        text = text[:_LONGEST_CELL] + " [...]"
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """Returns the text that `escape_cell` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (first line, cells by column) for each row that is not empty."""
    text = read_text(path, may_be_legacy=False).content
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    start = 1
    try:
        for cells in reader:
            if not columns:
                columns = [cell.strip() for cell in cells]
                _check_columns(columns, path)
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(columns):
                    problem = f"has {len(cells)} cells, the header has {len(columns)}."
                    raise InputError.at(path, problem, line=start)
                yield start, dict(zip(columns, map(unescape_cell, cells), strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError.at(path, f"is not valid CSV ({error}).", line=start) from error
    if not columns:
        raise InputError.at(path, "is empty; expected the sheet of this sample, filled in.")


def _check_columns(columns: Sequence[str], path: Path) -> None:
    needed = (*KEY_COLUMNS, *VERDICT_COLUMNS)
    remedy = f"the sheet has {', '.join((*KEY_COLUMNS, *SHOWN_COLUMNS, *VERDICT_COLUMNS))}."
    for name in needed:
        if name not in columns:
            raise InputError.at(path, f"this column is missing; {remedy}", line=1, field=name)
    for index, name in enumerate(columns):
        if name not in (*needed, *SHOWN_COLUMNS):
            raise InputError.at(path, f"this column is unknown; {remedy}", line=1, field=name)
        if name in columns[:index]:
            raise InputError.at(path, "this column is there twice.", line=1, field=name)


def _question(row: Mapping[str, str], questions: Mapping[str, Question], path: Path, line: int) -> Question:
    question = questions.get(row["id"])
    if question is None:
        problem = f'"{row["id"]}" is no question of the sample; is the sheet of another sample, or the id changed?'
        raise InputError.at(path, problem, line=line, field="id")
    if row["text_key"] != text_key(question):
        problem = (
            f'found "{row["text_key"]}", but "{question.id}" has {text_key(question)}: the sheet is about another text '
            "under this id. Give the sheet of this sample."
        )
        raise InputError.at(path, problem, line=line, field="text_key")
    return question


def _decoded(answers: Mapping[str, str]) -> dict[str, Any]:
    """Returns the answers as a verdict has them.

    Raises:
        FieldError: When one is lacking or cannot be read.
    """
    record: dict[str, Any] = {}
    for item in CRITERIA:
        answer = answers[item.name]
        if item.name in REQUIRED and not answer:
            raise FieldError(item.name, "is empty; fill it in, or clear the whole row.")
        if item.kind is Kind.yes_no:
            if answer.lower() not in _YES_NO:
                raise FieldError(item.name, f'expected "yes" or "no", found "{answer}".')
            record[item.name] = _YES_NO[answer.lower()]
        elif item.kind is Kind.rating:
            match = _RATING.fullmatch(answer)
            record[item.name] = int(match[1]) if match else answer
        elif item.kind is Kind.letter:
            record[item.name] = answer.upper() or None
        else:
            record[item.name] = answer
    return record


# An empty list stands for the letters of the question's options.
_CHOICES = {Kind.yes_no.value: ["yes", "no"], Kind.rating.value: list(RATINGS), Kind.letter.value: []}


def write_page(path: Path, rows: Sequence[tuple[Question, Sequence[Passage]]]) -> None:
    """Writes the page. Neither answers nor provenance nor anybody's verdict is in it.

    All text of models is escaped, and the page's own policy lets no other script run than the one it ships with.
    """
    import jinja2
    from markupsafe import Markup

    files = resources.files("medssr.auditing")
    script = files.joinpath("sheet.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    keyed = [(question, passages, text_key(question)) for question, passages in rows]
    page = environment.from_string(files.joinpath("sheet.html").read_text(encoding="utf-8")).render(
        rows=keyed,
        criteria=CRITERIA,
        choices=_CHOICES,
        sheet_key=text_hash("\n".join(f"{question.id} {key}" for question, _, key in keyed))[:16],
        script=Markup(script),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with open_atomically(path) as stream:
        stream.write(page)
