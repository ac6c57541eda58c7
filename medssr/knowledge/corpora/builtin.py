"""The corpus that ships with the package."""

from __future__ import annotations

from collections.abc import Iterator

from medssr.knowledge.corpora.documents import DocumentCorpus, Passage
from medssr.knowledge.facts import Entity, builtin_common_diseases, builtin_rare_diseases, relations


class BuiltinCorpus(DocumentCorpus):
    """The statements of the fact tables that ship with the package: one passage per disease."""

    def __init__(self) -> None:
        super().__init__(max_chars=None, cleaning=None)

    def documents(self) -> Iterator[Passage]:
        """Yields one passage for each disease with at least one fact."""
        for entity in [*builtin_rare_diseases(), *builtin_common_diseases()]:
            if entity.facts:
                yield statement_passage(entity)


def statement_passage(entity: Entity) -> Passage:
    """Returns a passage that states the facts of the disease, a sentence each."""
    sentences = (
        relations()[fact.relation].statement.format(entity=entity.name, value=fact.value) for fact in entity.facts
    )
    sources = sorted({fact.source for fact in entity.facts})
    return Passage(f"builtin:{entity.name}", entity.name, " ".join(sentences), ", ".join(sources))
