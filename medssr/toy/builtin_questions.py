"""The question sets that ship with the package, made from its facts: `python -m medssr.toy.builtin_questions`."""

from __future__ import annotations

import random
from collections.abc import Sequence

from medssr.knowledge.facts import Entity, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.questions import Question, write_questions
from medssr.resources import RESOURCES
from medssr.synthesis.grounded import DistractorPool, write_fact_question

NUM_OPTIONS = 4
# Benchmarks written by humans hold about 3% questions on rare diseases (MedSSR, arXiv 2604.11547).
NUM_HUMAN_QUESTIONS = {"common": 310, "rare": 10}
EVALUATION_FILE = RESOURCES / "questions" / "evaluation.jsonl"
HUMAN_FILE = RESOURCES / "questions" / "human.jsonl"


def evaluation_questions() -> list[Question]:
    """Returns one question for every built-in fact, worded as no training question is."""
    rare, common = builtin_rare_diseases(), builtin_common_diseases()
    rng = random.Random("evaluation")
    pool = DistractorPool([*rare, *common])
    return [
        question
        for number, (entity, index) in enumerate(_facts([*rare, *common]))
        if (question := _question(f"evaluation-{number:04d}", entity, index, pool, True, rng))
    ]


def human_questions() -> list[Question]:
    """Returns questions with gold answers, nearly all about common diseases."""
    rare, common = builtin_rare_diseases(), builtin_common_diseases()
    rng = random.Random("human")
    pool = DistractorPool([*rare, *common])
    drawn = [
        *rng.sample(_facts(common), NUM_HUMAN_QUESTIONS["common"]),
        *rng.sample(_facts(rare), NUM_HUMAN_QUESTIONS["rare"]),
    ]
    return [
        question
        for number, (entity, index) in enumerate(drawn)
        if (question := _question(f"human-{number:04d}", entity, index, pool, False, rng))
    ]


def _facts(entities: Sequence[Entity]) -> list[tuple[Entity, int]]:
    return [(entity, index) for entity in entities for index in range(len(entity.facts))]


def _question(
    name: str, entity: Entity, index: int, pool: DistractorPool, is_evaluation: bool, rng: random.Random
) -> Question | None:
    fact = entity.facts[index]
    wording = relations()[fact.relation]
    stems = (wording.evaluation_stem,) if is_evaluation else wording.stems
    drafted = write_fact_question(entity, fact, pool, stems, NUM_OPTIONS, rng)
    if drafted is None:
        return None
    return Question(
        name,
        drafted.stem,
        drafted.options,
        drafted.truth,
        "builtin",
        entity.name,
        entity.is_rare,
        {"relation": fact.relation, "fact_source": fact.source},
    )


def main() -> None:
    """Writes both files."""
    for file, questions in ((EVALUATION_FILE, evaluation_questions()), (HUMAN_FILE, human_questions())):
        print(f"{file}: {write_questions(file, questions)} questions")


if __name__ == "__main__":
    main()
