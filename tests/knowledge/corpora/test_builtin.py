from __future__ import annotations

from medssr.knowledge.corpora import BuiltinCorpus
from medssr.knowledge.facts import builtin_common_diseases, builtin_rare_diseases


def test_builtin_corpus_states_the_facts_of_each_disease():
    passages = {passage.title: passage for passage in BuiltinCorpus().passages()}
    with_facts = [entity for entity in [*builtin_rare_diseases(), *builtin_common_diseases()] if entity.facts]
    assert set(passages) == {entity.name for entity in with_facts}
    assert len({passage.id for passage in passages.values()}) == len(passages)
    for entity in with_facts:
        for fact in entity.facts:
            assert fact.value in passages[entity.name].text
            assert fact.source in passages[entity.name].source
