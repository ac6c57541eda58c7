"""The card of a trained model: base, data, method, settings and limits; and, once they are known, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medssr.artifacts import fingerprint_parts
from medssr.config import ModelConfig, SFTTrainConfig, TrainConfig
from medssr.hub.cards import Card, Making, code_block, inputs_table, read_card, settings_block, table, write_card
from medssr.hub.model_index import index_results, result_rows
from medssr.manifests import kept_hashes
from medssr.models.prompts import read_prompt_template
from medssr.resources import RESOURCES

_TAG = "medssr"
_LICENSE_FIELDS = ("license", "license_name", "license_link")
_METHODS = {
    "grpo": "Reinforcement learning with GRPO on labelled multiple-choice questions; the rewards are in the settings.",
    "sft": "Supervised fine-tuning on demonstrations.",
}
_LIMITS = """\
## Limits

- A research model. It answers multiple-choice questions and gives no medical advice; no clinician checked its
  answers, and a right letter can follow from wrong reasoning.
- Where it was trained on pseudo-labels, these are answers of a model, which can be wrong again and again in the same
  way.
- With another prompt than the one above, its scores differ."""
_READING = """\
Accuracy is the mean over questions of the fraction of samples that are right; an answer that cannot be read counts as
wrong. n counts questions."""
_NO_RESULTS = "No evaluation is known. `medssr-evaluate` makes one, and `medssr push` adds it to this card."


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a training started from.

    Attributes:
        text: What it is, for readers.
        hub_name: Its name on the hub, or that of the model which it was itself trained from; None if not known.
        license: The fields of its card that state its license.
    """

    text: str
    hub_name: str | None = None
    license: dict[str, Any] = field(default_factory=dict)


def write_model_card(config: TrainConfig | SFTTrainConfig, directory: Path) -> None:
    """Writes the card of a training into `model/`: the same card for the same settings and inputs.

    It enters the hash of the model, by which later steps know it, so it holds neither times nor paths.

    Args:
        config: The configuration of the training.
        directory: The artefact's folder.
    """
    hashes = kept_hashes(Path(config.paths.artifact_dir).absolute())
    making = Making(*fingerprint_parts(asdict(config), hashes.of))
    is_scratch = isinstance(config, SFTTrainConfig) and config.scratch is not None
    base = Base("none: random weights") if is_scratch else base_of(config.model)
    template = read_prompt_template(config.model.prompt_path)
    method = "grpo" if isinstance(config, TrainConfig) else "sft"
    write_card(directory / "model", model_card(method, making, base, template))


def base_of(model: ModelConfig) -> Base:
    """Returns what is known of a model, without a look at the hub."""
    path = Path(model.path)
    if not path.exists():
        revision = f", revision `{model.revision}`" if model.revision else ""
        return Base(f"[{model.path}](https://huggingface.co/{model.path}){revision}", model.path)
    if path.resolve().is_relative_to(RESOURCES.resolve()):
        return Base(f"the tiny policy `{path.name}` of medssr", license={"license": "apache-2.0"})
    card = read_card(path) if path.is_dir() else None
    metadata = {} if card is None else card.metadata
    terms = {name: metadata[name] for name in _LICENSE_FIELDS if name in metadata}
    if _TAG not in (metadata.get("tags") or ()):  # the card of the base itself, which says what that was made from
        return Base("a model in a folder; its hash is below, under `model.path`", license=terms)
    hub_name = metadata.get("base_model")
    made_from = f" from {hub_name}" if hub_name else ""
    return Base(f"a model that medssr trained{made_from}; its hash is below, under `model.path`", hub_name, terms)


def model_card(method: str, making: Making, base: Base, template: str) -> Card:
    """Returns the card of a trained model without results.

    Args:
        method: "grpo" or "sft".
        making: Its configuration and inputs.
        base: The model that the training started from.
        template: The text around a question.
    """
    metadata: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": base.hub_name} if base.hub_name else {}),
        **base.license,
        "tags": [_TAG, "medical", "multiple-choice", method],
    }
    body = "\n\n".join(
        [
            "# A model trained with medssr",
            f"Base: {base.text}.",
            f"Method: {_METHODS[method]}",
            "## Data and other inputs",
            inputs_table(making.inputs),
            "## Prompt",
            "`{question}` stands for the stem of a question and its options, a line each (`A. ...`).",
            code_block(template),
            "## Settings",
            settings_block(making.config),
            "## Results",
            _NO_RESULTS,
            _LIMITS,
        ]
    )
    return Card(metadata, f"{body}\n")


def with_results(card: Card, name: str, evaluations: Sequence[Mapping[str, Any]]) -> Card:
    """Returns the card of a model with the results of evaluations, also as its `model-index`.

    Args:
        card: The card without results.
        name: The model's name on the hub.
        evaluations: The content of `results.json` of each evaluation.
    """
    if not evaluations:
        return card
    results = [result for evaluation in evaluations for result in index_results(evaluation)]
    metadata = card.metadata | {"model-index": [{"name": name.rpartition("/")[2], "results": results}]}
    head = ("Benchmark", "Questions", "n", "Accuracy", "95% interval", "Protocol")
    rows = table(head, [row for evaluation in evaluations for row in result_rows(evaluation)])
    before, _, after = card.body.partition(_NO_RESULTS)
    if not after:  # the card of another version, whose text is another
        before, after = f"{card.body.rstrip()}\n\n## Results\n\n", "\n"
    return Card(metadata, f"{before}{rows}\n\n{_READING}{after}")
