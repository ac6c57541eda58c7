"""Builds prompts from template files, among them the one that asks a language model for one new question."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medssr.errors import InputError
from medssr.knowledge.corpora import Passage
from medssr.knowledge.facts import Entity
from medssr.knowledge.retrieval import Hit
from medssr.questions import LETTERS, Question, render_question
from medssr.utils.text_files import read_template

if TYPE_CHECKING:
    from jinja2 import Template

# The tags that fence foreign text in the template; text that holds them could end its fence early.
_FENCE = re.compile(r"</?\s*(?:passage|example|question)\b[^>]*>", re.IGNORECASE)


def load_template(path: Path | str, field: str = "synthesis.prompt_path") -> str:
    """Returns the text of a prompt template.

    Args:
        path: The file.
        field: Its configuration key, for messages.

    Raises:
        InputError: When there is no such file, or it is no UTF-8 text.
    """
    return read_template(Path(path), field)


def build_synthesis_prompt(
    template: str, seeds: tuple[Question, Question], entity: Entity | None, hits: Sequence[Hit], num_options: int
) -> str:
    """Returns the prompt: the two seed questions, the passages about the entity if there are any, and the task.

    The template is a Jinja template with the variables `seeds` (two texts, without answers), `entity` (a name or None),
    `passages` (each with `title` and `text`) and `letters` (of the options).

    Raises:
        InputError: When the template is broken or uses another variable.
    """
    values = {
        "seeds": [unfence(render_question(seed)) for seed in seeds],
        "entity": None if entity is None else entity.name,
        "passages": fenced_passages([hit.passage for hit in hits]),
        "letters": list(LETTERS[:num_options]),
    }
    return fill_template(template, values)


def fenced_passages(passages: Sequence[Passage]) -> list[dict[str, str]]:
    """Returns title and text of each passage, for a template that fences them with tags."""
    return [{"title": unfence(passage.title).replace('"', "'"), "text": unfence(passage.text)} for passage in passages]


def unfence(text: str) -> str:
    """Returns the text without the tags that fence foreign text in templates."""
    return _FENCE.sub(" ", text)


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Returns the template's text with its variables filled in.

    Raises:
        InputError: When the template is broken or uses another variable than those in `values`.
    """
    from jinja2 import TemplateError

    try:
        return _compile(template).render(values).strip()
    except TemplateError as error:
        shown = ", ".join(values)
        raise InputError(f"The prompt template cannot be filled: {error}. It has the variables {shown}.") from error


def text_hash(text: str) -> str:
    """Returns a hash that names a prompt or a template in provenance."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4)
def _compile(template: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template)
