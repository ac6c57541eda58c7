"""How many errors the automatic checks of medssr-audit see: in generated questions, and among errors planted in them.

    python experiments/audit_checks/run.py FOLDER

300 questions of the built-in generators are checked, and then copies of them with one planted error each.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

import medssr
from medssr.auditing.checks import CheckedQuestion, check_question
from medssr.auditing.known_answers import AnswerKey
from medssr.knowledge.facts import Entity, builtin_common_diseases, builtin_rare_diseases
from medssr.knowledge.graph import graph_from_facts
from medssr.questions import LETTERS, Question, read_questions
from medssr.reports.render import markdown
from medssr.statistics import wilson_interval

NUM_QUESTIONS = 300
GENERATORS = ("grounded", "graph")


@dataclass(frozen=True)
class World:
    """What planting an error needs to know.

    Attributes:
        entities: All diseases.
        rng: Of the draws.
    """

    entities: list[Entity]
    rng: random.Random

    def values(self, question: Question) -> tuple[set[str], set[str]]:
        """Returns the values of the question's relation that are true of its disease, and those of other diseases."""
        relation = question.provenance.get("relation", "finding")
        true, other = set(), set()
        for entity in self.entities:
            for fact in entity.facts:
                if fact.relation == relation:
                    values = true if entity.name == question.entity else other
                    values |= {fact.value, *fact.also_true}
        return true, other - true


Plant = Callable[[Question, World], Question | None]


def with_options(question: Question, options: dict[str, str]) -> Question:
    """Returns the question with other options."""
    return replace(question, options=options)


def truth(question: Question) -> str:
    """Returns the letter of the true answer."""
    return str(question.provenance["truth"])


def wrong_answer(question: Question, world: World) -> Question:
    """Marks another option as the answer."""
    others = [letter for letter in question.options if letter != truth(question)]
    return replace(question, provenance=question.provenance | {"truth": world.rng.choice(others)})


def no_right_option(question: Question, world: World) -> Question | None:
    """Puts the name or value of another disease in place of the right option."""
    if question.provenance.get("question_kind") == "diagnosis":
        values = {entity.name for entity in world.entities if entity.name != question.entity}
    elif question.provenance.get("question_kind") == "gene":
        values = {fact.value for entity in world.entities for fact in entity.facts if fact.relation == "gene"}
    else:
        _, values = world.values(question)
    values -= set(question.options.values())
    return with_options(question, question.options | {truth(question): world.rng.choice(sorted(values))})


def several_right_options(question: Question, world: World) -> Question | None:
    """Puts a further true value in place of a wrong option, where there is one."""
    true, _ = world.values(question)
    further = sorted(true - set(question.options.values()))
    if not further or question.provenance.get("question_kind") in ("diagnosis", "gene"):
        return None
    wrong = world.rng.choice([letter for letter in question.options if letter != truth(question)])
    return with_options(question, question.options | {wrong: world.rng.choice(further)})


def other_disease(question: Question, world: World) -> Question | None:
    """Asks for another disease, of which the answer is not true."""
    if question.entity is None or question.entity not in question.stem:
        return None
    relation, value = question.provenance.get("relation", "finding"), question.options[truth(question)]
    others = [
        entity.name
        for entity in world.entities
        for fact in entity.facts
        if fact.relation == relation and value not in (fact.value, *fact.also_true) and entity.name not in question.stem
    ]
    if not others:
        return None
    return replace(question, stem=question.stem.replace(question.entity, world.rng.choice(sorted(set(others)))))


def other_finding(question: Question, world: World) -> Question | None:
    """Tells a finding in a vignette that the disease does not have, in place of one that it has."""
    if question.provenance.get("question_kind") not in ("diagnosis", "gene"):
        return None
    told = [edge[2].removeprefix("finding:") for edge in question.provenance["edges"] if edge[1] == "finding"]
    told = [name for name in told if name in question.stem]
    _, other = world.values(question)
    others = sorted(name for name in other if name not in question.stem and name[0].islower())
    if not told or not others:
        return None
    return replace(question, stem=question.stem.replace(world.rng.choice(told), world.rng.choice(others)))


def no_findings(question: Question, world: World) -> Question | None:
    """Leaves out all of a vignette but its last sentence."""
    if question.provenance.get("question_kind") not in ("diagnosis", "gene"):
        return None
    return replace(question, stem=question.stem.rsplit(". ", 1)[-1])


def repeated_option(question: Question, world: World) -> Question:
    """Repeats the right option, in capitals."""
    wrong = world.rng.choice([letter for letter in question.options if letter != truth(question)])
    return with_options(question, question.options | {wrong: f"The {question.options[truth(question)].upper()}"})


def missing_passage(question: Question, world: World) -> Question:
    """Refers to a passage that the question does not show."""
    start = world.rng.choice(["According to the passage", "As described in the text above", "Based on this study"])
    return replace(question, stem=f"{start}: {question.stem}")


def missing_figure(question: Question, world: World) -> Question:
    """Refers to a figure that the question does not show."""
    start = world.rng.choice(["The image shows the patient's skin.", "See the figure below.", "The ECG is shown."])
    return replace(question, stem=f"{start} {question.stem}")


def cut_off(question: Question, world: World) -> Question:
    """Cuts off the last one to three words."""
    words = question.stem.split()
    return replace(question, stem=" ".join(words[: max(2, len(words) - world.rng.randint(1, 3))]))


def named_answer(question: Question, world: World) -> Question:
    """Marks the right option in the stem or among the options."""
    letter = truth(question)
    if world.rng.random() < 0.5:
        return replace(question, stem=f"{question.stem} Answer: {letter}")
    return with_options(question, question.options | {letter: f"{question.options[letter]} (correct)"})


def garbled(question: Question, world: World) -> Question:
    """Puts a character in place of one that was lost."""
    index = world.rng.randrange(1, len(question.stem) - 1)
    return replace(question, stem=f"{question.stem[:index]}\ufffd{question.stem[index + 1 :]}")


def about_options(question: Question, world: World) -> Question:
    """Puts an option about the other ones in place of a wrong one."""
    wrong = world.rng.choice([letter for letter in question.options if letter != truth(question)])
    text = world.rng.choice(["All of the above", "None of the above", "Both A and B"])
    return with_options(question, question.options | {wrong: text})


PLANTS: tuple[Plant, ...] = (
    wrong_answer, no_right_option, several_right_options, other_disease, other_finding, no_findings, repeated_option,
    missing_passage, missing_figure, cut_off, named_answer, garbled, about_options,
)  # fmt: skip


def synthesised(folder: Path) -> dict[str, list[Question]]:
    """Returns the questions of each generator."""
    questions = {}
    for generator in GENERATORS:
        number = NUM_QUESTIONS // len(GENERATORS)
        overrides = [f"generator={generator}", f"synthesis.num_questions={number}", f"paths.root_dir={folder}"]
        made = medssr.synthesize(medssr.compose("synthesize", [*overrides, "extras.progress_bar=false"]))
        questions[generator] = list(read_questions(made.questions))
    return questions


def rate(count: int, number: int) -> str:
    """Returns a rate with its interval."""
    interval = wilson_interval(count, number)
    return f"{count} of {number}, {100 * count / number:.1f}% [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def main() -> None:
    """Runs the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    entities = [*builtin_rare_diseases(), *builtin_common_diseases()]
    key = AnswerKey(entities, graph_from_facts(entities))
    questions = synthesised(folder)
    everything = [question for each in questions.values() for question in each]

    rows = []
    checked: dict[str, list[CheckedQuestion]] = {
        name: [check_question(question, key) for question in each] for name, each in questions.items()
    }
    checked["both"] = [each for results in checked.values() for each in results]
    for name, results in checked.items():
        num_known = sum(each.is_answer_checked for each in results)
        num_wrong = sum(bool(each.problems) for each in results)
        rows.append({"generator": name, "answer checked": num_known, "with a problem": rate(num_wrong, len(results))})
    sound = [question for question, each in zip(everything, checked["both"], strict=True) if not each.problems]

    planted_rows, num_planted, num_found = [], 0, 0
    for plant in PLANTS:
        world = World(entities, random.Random(plant.__name__))
        planted = [changed for question in sound if (changed := plant(question, world)) is not None]
        results = [check_question(question, key) for question in planted]
        num_flagged = sum(bool(each.problems) for each in results)
        named = sum(any(plant.__name__ == problem.name for problem in each.problems) for each in results)
        num_planted, num_found = num_planted + len(planted), num_found + num_flagged
        cells = {"planted": plant.__name__.replace("_", " "), "found": rate(num_flagged, len(planted))}
        planted_rows.append(cells | {"by its own check": str(named)})
    planted_rows.append({"planted": "all", "found": rate(num_found, num_planted), "by its own check": ""})
    letters = pd.Series([truth(question) for question in everything]).value_counts().reindex(list(LETTERS[:4]))
    text = [
        markdown(pd.DataFrame(rows).set_index("generator")),
        markdown(pd.DataFrame(planted_rows).set_index("planted")),
        f"answers: {letters.to_dict()}",
    ]
    text += [f"- {each.question_id}: {each.detail}" for each in checked["both"] if each.problems]
    (folder / "result.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
