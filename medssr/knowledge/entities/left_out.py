"""Entries of entity lists that are left out, by reason: obsolete, not rare, rows of a template."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medssr.errors import InputError

log = logging.getLogger(__name__)

OBSOLETE = "obsolete"
NOT_RARE = "not rare in Europe"
TEMPLATE_ROW = "row of a ROBOT template"

# Orphanet writes "OBSOLETE: name", MONDO "obsolete name".
_OBSOLETE = re.compile(
    r"\s*[(\[]?(?:obsolete|deprecated)[\W_]+(?=\w)|.*[(\[](?:obsolete|deprecated)[)\]]\s*$", re.IGNORECASE
)
_NOT_RARE = re.compile(r"\s*[(\[]?no[nt][\s_-]+rare\b|.*[(\[]no[nt][\s_-]+rare\b[^)\]]*[)\]]\s*$", re.IGNORECASE)
# Cells of the second line of a ROBOT template, which say how the columns are read: "ID", "A rdfs:label", "SC %".
_TEMPLATE_CELL = re.compile(
    r"(?:ID|LABEL|TYPE|CLASS_TYPE)|>{0,9}(?:A|AT|AL|AI|I|C|CE|CI|SC|EC|DC|P|SP|EP|DP|IP|SI|DI|TI)\s\S.*"
)


def reason_of_name(name: str) -> str | None:
    """Returns why the disease of this name is left out; None where it is not.

    Example:
        >>> reason_of_name("OBSOLETE: Rett-like syndrome"), reason_of_name("NON RARE IN EUROPE: Gout")
        ('obsolete', 'not rare in Europe')
        >>> reason_of_name("obsolete_gout"), reason_of_name("Fabry disease")
        ('obsolete', None)
    """
    if _NOT_RARE.match(name):
        return NOT_RARE
    return OBSOLETE if _OBSOLETE.match(name) else None


def valid_synonyms(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of a disease that do not say that they are obsolete or not rare, each once.

    Example:
        >>> valid_synonyms(["GSD2", "OBSOLETE: Acid maltase deficiency", "GSD2"])
        ('GSD2',)
    """
    return tuple(dict.fromkeys(name for name in names if reason_of_name(name) is None))


def is_template_row(cells: Iterable[Any]) -> bool:
    """Returns whether a row, the first of a table, is that of a ROBOT template and not one of data.

    Example:
        >>> is_template_row(["ID", "LABEL", "A oboInOwl:hasExactSynonym SPLIT=|"]), is_template_row(["A", "LABEL"])
        (True, False)
    """
    filled = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    return bool(filled) and all(_TEMPLATE_CELL.fullmatch(cell) for cell in filled)


def report_left_out(path: Path, num_taken: int, left_out: Counter[str]) -> Mapping[str, int]:
    """Logs how many entries of a file were taken and left out, and returns the latter by reason.

    Raises:
        InputError: When none was taken.
    """
    reasons = {reason: left_out[reason] for reason in sorted(left_out)}
    text = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    if not num_taken:
        raise InputError.at(path, f"holds no disease that is taken{f' (left out: {text})' if text else ''}.")
    if text:
        log.info("%s: %d diseases taken; left out: %s", path, num_taken, text)
    return reasons
