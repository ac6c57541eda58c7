"""The schemas of released datasets: which field holds what, and how options and answers are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medssr.questions import LETTERS, FieldError, Question, parse_lettered_text

# MedXpertQA's texts repeat the options behind the question.
_ANSWER_CHOICES = re.compile(r"\s*\bAnswer Choices:\s*\(A\).*\Z", re.DOTALL)
_CONTEXT_FIELDS = ("contexts", "context")


@dataclass(frozen=True, slots=True)
class ItemForm:
    """The names of the fields of one form of question.

    Attributes:
        id: Unique in its file; None where items have none and are numbered.
        question: The question's text.
        options: An object of letter to text, or a list of texts or of objects with `letter` and `content`. None: the
            options are lettered lines at the end of the question's text.
        answer: The letter of the gold answer, alone or as a list of one.
        source: Where the question is from; None where no field says it.
    """

    id: str | None
    question: str
    options: str | None
    answer: str
    source: str | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """The fields without which there is no question."""
        return tuple(name for name in (self.id, self.question, self.options, self.answer) if name is not None)


RELEASED = ItemForm("id", "question", None, "gold", "name")
MEDXPERTQA = ItemForm("id", "question", "options", "label")


def question_from_item(item: Mapping[str, Any], form: ItemForm, source: str, number: int) -> Question:
    r"""Returns the question of an item; other fields become its provenance.

    An item with `contexts` (or `context`: one text or a list), such as the abstract of a PubMedQA question, is asked
    with them in front of the question.

    Args:
        item: The item.
        form: Its form.
        source: The question's source where the item names none.
        number: The item's number, which is its id where the form has no field for it.

    Raises:
        FieldError: When a field is missing or not of its form; it names the item's field.

    Example:
        >>> item = {"id": "q", "question": "Which organ?\nA. liver\nB. heart", "gold": "A"}
        >>> question_from_item(item, RELEASED, "toy", 1).options
        {'A': 'liver', 'B': 'heart'}
    """
    for name in form.required:
        if item.get(name) is None:
            found = "is null" if name in item else "is missing"
            needed = ", ".join(form.required)
            raise FieldError(name, f"{found}; every item needs {needed}. Found {', '.join(item)}.")
    text = item[form.question]
    if not isinstance(text, str):
        raise FieldError(form.question, f"found {text!r:.60}, expected a text.")
    stem, options = _stem_and_options(text, item, form)
    contexts = _contexts(item)
    read_fields = {*form.required, form.source, *_CONTEXT_FIELDS}
    provenance = {name: value for name, value in item.items() if name not in read_fields}
    if contexts:
        provenance["has_context"] = True
    try:
        return Question(
            id=str(number) if form.id is None else item[form.id],
            stem="\n\n".join([*contexts, stem]) if stem else stem,
            options=options,
            answer=_letter(item[form.answer], form.answer),
            source=item.get(form.source, source) if form.source else source,
            provenance=provenance,
        )
    except FieldError as error:
        raise FieldError(_field_of_item(error.field, form), error.problem) from error


def _stem_and_options(text: str, item: Mapping[str, Any], form: ItemForm) -> tuple[str, dict[str, str]]:
    if form.options is None:
        try:
            return parse_lettered_text(text)
        except ValueError as error:
            problem = f"{error}; found a text that ends in {text[-60:]!r}. Give one option a line: 'A. text'."
            raise FieldError(form.question, problem) from error
    options = _options(item[form.options], form.options)
    repeated = _ANSWER_CHOICES.search(text)
    if repeated and all(option in repeated[0] for option in options.values()):
        text = text[: repeated.start()]
    return text.strip(), options


def _options(value: Any, field: str) -> dict[str, str]:
    """Returns the options by letter; null values, which tables have for missing options, are left out."""
    if isinstance(value, list):
        entries = [(entry.get("letter"), entry.get("content")) for entry in value if isinstance(entry, Mapping)]
        value = dict(entries if len(entries) == len(value) else zip(LETTERS, value, strict=False))
    if not isinstance(value, Mapping):
        raise FieldError(field, f"found {value!r:.60}, expected an object of letter to text or a list.")
    # In the order of their letters, because the keys of an object have no order.
    return {letter: value[letter] for letter in sorted(value, key=str) if value[letter] is not None}


def _letter(value: Any, field: str) -> Any:
    if isinstance(value, list):
        if len(value) != 1:
            raise FieldError(field, f"found {value!r:.60}, expected one letter.")
        return value[0]
    return value


def _contexts(item: Mapping[str, Any]) -> list[str]:
    for name in _CONTEXT_FIELDS:
        value = item.get(name)
        if value is not None:
            texts = value if isinstance(value, list) else [value]
            if not all(isinstance(text, str) for text in texts):
                raise FieldError(name, f"found {value!r:.60}, expected a text or a list of texts.")
            return [text.strip() for text in texts if text.strip()]
    return []


def _field_of_item(field: str, form: ItemForm) -> str:
    names = {
        "id": form.id,
        "stem": form.question,
        "options": form.options or form.question,
        "answer": form.answer,
        "source": form.source,
    }
    return names.get(field) or field
