"""The card of a question set, with which `datasets.load_dataset` reads its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medssr.artifacts import fingerprint_parts
from medssr.config import PseudoLabelConfig, SynthesizeConfig
from medssr.hub.cards import Card, Making, inputs_table, settings_block, table, write_card
from medssr.manifests import kept_hashes

QUESTIONS_FILE = "questions.jsonl"
# Options and provenance differ from question to question, so they are JSON and no columns.
_FEATURES = [
    {"name": "id", "dtype": "string"},
    {"name": "stem", "dtype": "string"},
    {"name": "options", "dtype": "json"},
    {"name": "answer", "dtype": "string"},
    {"name": "source", "dtype": "string"},
    {"name": "entity", "dtype": "string"},
    {"name": "is_rare", "dtype": "bool"},
    {"name": "provenance", "dtype": "json"},
]
_FIELDS = [
    ("`id`", "unique in the file"),
    ("`stem`", "the question"),
    ("`options`", "letter to text"),
    ("`answer`", "the letter of the label; null where there is none"),
    ("`source`", "where the question is from"),
    ("`entity`, `is_rare`", "the disease that it is about, and whether that is a rare one"),
    ("`provenance`", "how it was made: seed questions, passages, model, agreement of the votes"),
]
# The upper bounds of the hub's size categories.
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_WHAT = {
    "synthesize": "Synthetic multiple-choice questions without labels.",
    "pseudo_label": "Multiple-choice questions with pseudo-labels: the majority of a model's own answers.",
}
_LIMITS = """\
## Limits

- A program or a language model wrote these questions. No clinician checked them; they are for research and no source
  of medical advice.
- Labels, where there are any, are answers of a model and can be wrong. `provenance.agreement` is the share of its
  votes for the label; `provenance.truth`, where it is there, is the answer that the generator knows, and is not to be
  trained on.
- Terms of the passages and seed questions that they were made from apply."""


def write_dataset_card(
    step: str, config: SynthesizeConfig | PseudoLabelConfig, directory: Path, num_questions: int
) -> None:
    """Writes the card of a question set beside `questions.jsonl`: the same card for the same settings and inputs.

    Args:
        step: "synthesize" or "pseudo_label".
        config: The configuration of the step.
        directory: The artefact's folder.
        num_questions: The number of questions in the file.
    """
    hashes = kept_hashes(Path(config.paths.artifact_dir).absolute())
    making = Making(*fingerprint_parts(asdict(config), hashes.of))
    write_card(directory, dataset_card(step, making, num_questions))


def dataset_card(step: str, making: Making, num_questions: int) -> Card:
    """Returns the card of a question set; arguments as of `write_dataset_card`."""
    metadata: dict[str, Any] = {
        "task_categories": ["multiple-choice", "question-answering"],
        "tags": ["medssr", "medical", "synthetic"],
        "size_categories": [size_category(num_questions)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": QUESTIONS_FILE}]}],
        "dataset_info": {"features": _FEATURES},
    }
    body = "\n\n".join(
        [
            "# Questions made with medssr",
            f"{_WHAT[step]} {num_questions:,} questions in `{QUESTIONS_FILE}`.",
            table(("Field", "Content"), _FIELDS),
            "## Inputs",
            inputs_table(making.inputs),
            "## Settings",
            _model_line(making.config),
            settings_block(making.config),
            _LIMITS,
        ]
    )
    return Card(metadata, f"{body}\n")


def _model_line(config: Mapping[str, Any]) -> str:
    """Returns which model was asked; the hash of one in a folder is among the inputs."""
    model = config.get("model")
    if model is None:
        return "All settings that decide the content:"
    name = model["path"] or "a model in a folder, whose hash is above"
    return f"Answered by {name}. All other settings that decide the content:"


def size_category(num_questions: int) -> str:
    """Returns the hub's name for a size.

    Example:
        >>> size_category(999), size_category(1000), size_category(2_000_000)
        ('n<1K', '1K<n<10K', 'n>1M')
    """
    return next((name for bound, name in _SIZES if num_questions < bound), "n>1M")
