"""The sheet as one HTML page that works from a disk: no server, no network, verdicts saved as a file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from medssr.auditing.rubric import CRITERIA, RATINGS, Kind
from medssr.auditing.sheet import text_key
from medssr.knowledge.corpora import Passage
from medssr.questions import Question
from medssr.synthesis.prompts import text_hash
from medssr.utils.files import open_atomically

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
