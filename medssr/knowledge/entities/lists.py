"""What an entity list is, and the simplest ones."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, builtin_rare_diseases


class EntityList(Protocol):
    """A source of diseases."""

    def entities(self) -> list[Entity]:
        """Returns the diseases in the list's order."""
        ...


class BuiltinEntities:
    """The rare diseases that ship with the package, with their facts."""

    def entities(self) -> list[Entity]:
        """Returns the built-in rare diseases."""
        return builtin_rare_diseases()


class ListEntities:
    """A plain text file with the name of one rare disease a line; nothing else is known about them.

    Attributes:
        path: The file, in UTF-8. Blank lines are skipped.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def entities(self) -> list[Entity]:
        """Returns the diseases in the file's order, all rare and without facts.

        Raises:
            InputError: When the file is absent, empty or not UTF-8, or a name occurs twice.
        """
        if not self.path.is_file():
            raise InputError.at(self.path, "there is no such file.")
        try:
            lines = self.path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError.at(self.path, f"is not UTF-8 ({error}); save it as UTF-8 text.") from error
        line_of_name: dict[str, int] = {}
        entities = []
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            first = line_of_name.setdefault(name.casefold(), number)
            if first != number:
                raise InputError.at(self.path, f'"{name}" is on line {first} already; remove one.', line=number)
            entities.append(Entity(name, is_rare=True))
        if not entities:
            raise InputError.at(self.path, "holds no name; write the name of one disease a line.")
        return entities
