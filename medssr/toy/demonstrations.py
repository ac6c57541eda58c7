"""What is asked, with completions to imitate, for supervised fine-tuning."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from medssr.errors import InputError
from medssr.knowledge.facts import Entity, Fact, builtin_common_diseases, builtin_rare_diseases, relations
from medssr.questions import Question
from medssr.synthesis.grounded import DistractorPool, write_fact_question
from medssr.toy.builtin_questions import NUM_OPTIONS, evaluation_questions
from medssr.training.demonstrations import Demonstration
from medssr.utils.seeding import derive_seed


class BuiltinDemonstrations:
    """Questions about the built-in facts, as the tiny policies learn them; none of the evaluation's is among them.

    Args:
        num_rows: How many demonstrations.
        rare_belief: See `belief`.
        rare_weight: How often a fact of a rare disease is drawn for each time that one of a common disease is.

    Raises:
        InputError: When a number is out of range.
    """

    source = "the built-in demonstrations"

    def __init__(self, num_rows: int, rare_belief: Sequence[float], rare_weight: float) -> None:
        if num_rows < 1:
            raise InputError(f"demonstrations.num_rows: {num_rows}; at least 1.")
        if len(rare_belief) != 2 or not 0 <= rare_belief[0] <= rare_belief[1] <= 1:
            problem = f"{list(rare_belief)}; expected two shares from 0 to 1, the lower one first."
            raise InputError(f"demonstrations.rare_belief: {problem}")
        if rare_weight < 0:
            raise InputError(f"demonstrations.rare_weight: {rare_weight}; at least 0.")
        self._num_rows = num_rows
        self._rare_belief = rare_belief
        self._rare_weight = rare_weight

    def draw(self, seed: int) -> list[Demonstration]:
        """Returns drawn questions with completions: right ones and, for rare diseases, wrong ones too."""
        rows = builtin_demonstrations(
            [*builtin_rare_diseases(), *builtin_common_diseases()],
            frozenset(question.content_key for question in evaluation_questions()),
            self._num_rows,
            NUM_OPTIONS,
            self._rare_belief,
            self._rare_weight,
            seed,
        )
        return list(rows)


def recall_and_compare(options: dict[str, str], letter: str) -> str:
    """Returns a completion that recalls a value, compares each option with it and then names the letter.

    Example:
        >>> recall_and_compare({"A": "liver", "B": "heart"}, "B")
        'heart. A. liver: no. B. heart: yes. The answer is B.'
    """
    judged = " ".join(f"{key}. {text}: {'yes' if key == letter else 'no'}." for key, text in options.items())
    return f"{options[letter]}. {judged} The answer is {letter}."


def belief(entity: Entity, fact: Fact, rare_belief: Sequence[float]) -> float:
    """Returns how often demonstrations state the fact rightly: always for common diseases, in part for rare ones.

    Args:
        entity: The disease.
        fact: One of its facts.
        rare_belief: Lowest and highest share for facts of rare diseases; each fact has a fixed share in between.
    """
    if not entity.is_rare:
        return 1.0
    low, high = rare_belief
    return low + (high - low) * derive_seed("belief", entity.name, fact.relation) / 2**63


def builtin_demonstrations(
    entities: Sequence[Entity],
    kept_out: frozenset[str],
    num_rows: int,
    num_options: int,
    rare_belief: Sequence[float],
    rare_weight: float,
    seed: int,
) -> Iterator[Demonstration]:
    """Yields questions about the facts with completions: right ones and, for rare diseases, wrong ones too.

    Args:
        entities: The diseases whose facts are asked about.
        kept_out: Content keys of the evaluation's questions, which are never shown.
        num_rows: How many demonstrations.
        num_options: Options of a question.
        rare_belief: See `belief`.
        rare_weight: How often a fact of a rare disease is drawn for each time that one of a common disease is.
        seed: Of the draws.
    """
    rng = random.Random(seed)
    pool = DistractorPool(entities)
    facts = [(entity, fact) for entity in entities for fact in entity.facts]
    weights = [rare_weight if entity.is_rare else 1.0 for entity, _ in facts]
    num_made = 0
    while num_made < num_rows:
        entity, fact = rng.choices(facts, weights)[0]
        wording = relations()[fact.relation]
        drafted = write_fact_question(entity, fact, pool, (*wording.stems, wording.evaluation_stem), num_options, rng)
        if drafted is None:
            continue
        letter = drafted.truth
        if rng.random() >= belief(entity, fact, rare_belief):
            letter = rng.choice([other for other in drafted.options if other != drafted.truth])
        question = Question(f"demonstration-{num_made:07d}", drafted.stem, drafted.options, letter, "builtin")
        if question.content_key in kept_out:
            continue
        num_made += 1
        yield Demonstration(question, recall_and_compare(question.options, letter))


def builtin_texts(entities: Sequence[Entity], prompt_template: str) -> list[str]:
    """Returns every wording of every fact, for training a tokenizer on the built-in world."""
    texts = [prompt_template.replace("{question}", "")]
    for entity in entities:
        for fact in entity.facts:
            wording = relations()[fact.relation]
            texts += [stem.format(entity=entity.name) for stem in (*wording.stems, wording.evaluation_stem)]
            texts.append(wording.statement.format(entity=entity.name, value=fact.value))
            options = dict.fromkeys("ABCD", fact.value)
            texts += ["\n".join(["user", *(f"{letter}. {text}" for letter, text in options.items()), "assistant"])]
            texts += [recall_and_compare(options, letter) for letter in options]
    return texts


def builtin_phrases(entities: Sequence[Entity]) -> list[str]:
    """Returns the names and values of the built-in world, distractors included, each once."""
    names = {entity.name for entity in entities}
    values = {fact.value for entity in entities for fact in entity.facts}
    distractors = {text for relation in relations().values() for text in relation.distractors}
    return sorted(names | values | distractors)
