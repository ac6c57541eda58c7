"""The forms of question files: how each is recognised, and how one of its records becomes a question.

`FORMS` is the table of them. To add one, add a row: the fields that hold question, options and gold answer, and how the
options are written. `docs/question_files.md` lists them for users; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medssr.errors import shown
from medssr.questions.gold import IndexBase, Option, gold_letter, is_absent, unlettered
from medssr.questions.lettered_text import LETTERS
from medssr.questions.option_fields import Columns, Field, Fixed, LetteredLines, OptionsReader
from medssr.questions.record import FieldError, Question

# Fields that identify a question, the first that a file has. Where it has none, questions are numbered.
_IDS = ("id", "qid", "question_id", "pubid", "idx", "uid")
_SOURCES = ("name",)
# Texts to be read before the question, such as the abstract of a PubMedQA question.
_CONTEXTS = ("contexts", "context", "CONTEXTS")
# Names that mean something in the provenance of medssr's own questions, such as their hidden true answer.
_OWN_PROVENANCE = frozenset({"truth", "audit", "has_context"})
# Other fields that may hold the gold answer, where the form's own is not there.
_OTHER_GOLDS = (
    "answer",
    "gold",
    "label",
    "answer_idx",
    "correct_answer",
    "correct_option",
    "correct",
    "answer_key",
    "answer_index",
    "correct_index",
    "correct_idx",
)


@dataclass(frozen=True, slots=True)
class Form:
    """One form of question file.

    Attributes:
        name: What users know it by.
        question: The field of the question's text.
        options: How the options are written.
        gold: The field of the gold answer. A file without it has questions without answers.
        marks: Further fields that a file of this form has.
        index_base: What whole numbers as gold answers count from.
        is_text_first: Whether a gold answer is rather the text of an option than its letter.
        gold_text: A field with the text of the gold answer, which has to agree with the letter in `gold`.
        has_source: Whether the field `name` says which data set a question is from.
        id_scope: A field within whose values ids are unique, such as the exam that a question is from.
    """

    name: str
    question: str
    options: OptionsReader
    gold: str
    marks: tuple[str, ...] = ()
    index_base: IndexBase = IndexBase.none
    is_text_first: bool = False
    gold_text: str | None = None
    has_source: bool = False
    id_scope: str | None = None


_OP_COLUMNS = Columns("op{small}")
# The first form that a file's fields fit is taken, one whose gold answers are there before any other.
FORMS = (
    Form("MedQA", "question", Field("options"), "answer_idx", index_base=IndexBase.from_data, gold_text="answer"),
    Form("MedMCQA", "question", _OP_COLUMNS, "cop", index_base=IndexBase.from_data),
    Form("MedBullets", "question", _OP_COLUMNS, "answer_idx", index_base=IndexBase.from_data, gold_text="answer"),
    Form("PubMedQA", "QUESTION", Fixed(("yes", "no", "maybe")), "final_decision", marks=("CONTEXTS",)),
    Form(
        "PubMedQA (Hugging Face)",
        "question",
        Fixed(("yes", "no", "maybe")),
        "final_decision",
        marks=("final_decision",),
    ),
    Form(
        "PubMedQA (Hugging Face)",
        "question",
        Fixed(("yes", "no", "maybe")),
        "final_decision",
        marks=("context", "long_answer"),
    ),
    Form("HEAD-QA", "qtext", Field("answers"), "ra", id_scope="name"),
    Form("MedXpertQA", "question", Field("options"), "label", index_base=IndexBase.from_data),
    Form("BigBio QA", "question", Field("choices"), "answer", marks=("type",), is_text_first=True),
    Form("MMLU (Hugging Face)", "question", Field("choices"), "answer", index_base=IndexBase.zero),
    Form("MIRAGE", "question", Field("options"), "answer", index_base=IndexBase.from_data),
    Form("ARC", "question", Field("choices"), "answerKey", index_base=IndexBase.from_data),
    Form("CMB", "question", Field("option"), "answer", index_base=IndexBase.from_data),
    Form("SWAG form of MedQA", "sent1", Columns("ending{index}"), "label", index_base=IndexBase.zero),
    Form("MMLU (columns)", "question", Columns("{capital}"), "answer", index_base=IndexBase.from_data),
    Form("columns by letter", "question", Columns("option_{small}"), "answer", index_base=IndexBase.from_data),
    Form("MedSSR release", "question", LetteredLines("question"), "gold", has_source=True),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A form in the words of one file: which of its fields hold what.

    Attributes:
        form: The form.
        options: The fields of the options.
        gold: The field of the gold answer, whether or not the file has it.
        id: The field of the id; None where questions are numbered.
        index_base: What whole numbers as gold answers count from, once known; None: they are no indices.
    """

    form: Form
    options: tuple[str, ...]
    gold: str
    id: str | None
    index_base: int | None = None


def find_layout(fields: Iterable[str]) -> Layout | None:
    """Returns the form that a file with these fields has, None where it is none of them.

    Example:
        >>> find_layout(["id", "question", "opa", "opb", "cop"]).form.name
        'MedMCQA'
    """
    names = set(fields)
    layouts = [layout for form in FORMS if (layout := _fit(form, names)) is not None]
    # A field for the options beats lines in the text, which may repeat them.
    layouts = [layout for layout in layouts if not isinstance(layout.form.options, LetteredLines)] or layouts
    with_gold = [layout for layout in layouts if layout.form.gold in names]
    return next(iter([*with_gold, *layouts]), None)


def _fit(form: Form, names: set[str]) -> Layout | None:
    options = form.options.fields(names)
    if form.question not in names or options is None or not names.issuperset(form.marks):
        return None
    gold = next((name for name in (form.gold, *_OTHER_GOLDS) if name in names), form.gold)
    index_base = 0 if form.index_base is IndexBase.zero else None
    return Layout(form, options, gold, next((name for name in _IDS if name in names), None), index_base)


def read_options(record: Mapping[str, Any], layout: Layout) -> list[Option]:
    """Returns the options of a record in order.

    Raises:
        FieldError: When they are missing, not as the form writes them, or more than there are letters.
    """
    options = unlettered(layout.form.options.read(record, layout.options))
    if len(options) < 2:
        raise FieldError(_options_field(layout), f"holds {len(options)} options; a question needs at least two.")
    if len(options) > len(LETTERS):
        problem = f"holds {len(options)} options; at most {len(LETTERS)} (A to Z) can be asked. Remove some."
        raise FieldError(_options_field(layout), problem)
    return options


def _options_field(layout: Layout) -> str:
    return layout.options[0] if layout.options else layout.form.question


def question_from_fields(
    record: Mapping[str, Any], layout: Layout, source: str, *, id_if_none: str, prefix: str = ""
) -> Question:
    r"""Returns the question in a record; fields that are not read become its provenance.

    A record with `contexts` (or `context`: one text, a list, or an object that holds `contexts`) is asked with them in
    front of the question.

    Args:
        record: The fields of the record.
        layout: The form of the file.
        source: The question's source, where no field says it.
        id_if_none: The question's id, where the file has no field for it.
        prefix: What stands before the id.

    Raises:
        FieldError: When a field is missing, of the wrong type or inconsistent; it names the record's field.

    Example:
        >>> record = {"id": "q", "question": "Which organ?\nA. liver\nB. heart", "gold": "A"}
        >>> question_from_fields(record, find_layout(record), "toy", id_if_none="1").options
        {'A': 'liver', 'B': 'heart'}
    """
    form = layout.form
    text = _text(record, form.question)
    options = read_options(record, layout)
    stem = form.options.stem(text, options)
    contexts = _contexts(record)
    scope = None if form.id_scope is None else record.get(form.id_scope)
    if not prefix and isinstance(scope, str):
        prefix = f"{scope}-"
    answer = _answer(record, options, layout)
    read_fields = {
        layout.id,
        form.question,
        *layout.options,
        layout.gold,
        *(_SOURCES if form.has_source else ()),
        *_CONTEXTS,
    }
    provenance = {
        f"{form.name}: {name}" if name in _OWN_PROVENANCE else name: value
        for name, value in record.items()
        if name not in read_fields
    }
    if contexts:
        provenance["has_context"] = True
    try:
        return Question(
            id=prefix + (id_if_none if layout.id is None else _id(record, layout.id)),
            stem="\n\n".join([*contexts, stem]) if stem else stem,
            options=dict(zip(LETTERS, (option.text for option in options), strict=False)),
            answer=answer,
            source=record.get("name", source) if form.has_source else source,
            provenance=provenance,
        )
    except FieldError as error:
        names = {"id": layout.id, "stem": form.question, "options": _options_field(layout), "source": "name"}
        raise FieldError(names.get(error.field) or error.field, error.problem) from error


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        state = "is null" if name in record else "is missing"
        raise FieldError(name, f"{state}; every question needs its text. Found the fields {', '.join(record)}.")
    if not isinstance(value, str):
        raise FieldError(name, f"found {shown(value)}, expected a text.")
    return value


def _id(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        problem = f"found {shown(value)}, expected a text or a number; give every question an id, or none of them."
        raise FieldError(name, problem)
    return value


def _answer(record: Mapping[str, Any], options: list[Option], layout: Layout) -> str | None:
    form, value = layout.form, record.get(layout.gold)
    if is_absent(value):
        return None
    try:
        letter = gold_letter(value, options, layout.index_base, is_text_first=form.is_text_first)
    except ValueError as error:
        raise FieldError(layout.gold, str(error)) from error
    text = record.get(form.gold_text) if form.gold_text not in (None, layout.gold) else None
    if isinstance(text, str) and form.gold_text is not None:
        same = [LETTERS[index] for index, option in enumerate(options) if option.text.strip() == text.strip()]
        if same and letter not in same:
            problem = f"is the text of option {same[0]}, but {layout.gold} is {shown(value)}; correct one of them."
            raise FieldError(form.gold_text, problem)
    return letter


def _contexts(record: Mapping[str, Any]) -> list[str]:
    for name in _CONTEXTS:
        value = record.get(name)
        if isinstance(value, Mapping):
            value = value.get("contexts")
        if value is not None:
            texts = value if isinstance(value, list) else [value]
            if not all(isinstance(text, str) for text in texts):
                raise FieldError(name, f"found {shown(value)}, expected a text or a list of texts.")
            return [text.strip() for text in texts if text.strip()]
    return []
