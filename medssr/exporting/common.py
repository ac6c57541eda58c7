"""Reads settings for another framework; a setting that the framework's exporter does not read is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from medssr.config import ExportSettings, ProtocolConfig
from medssr.config.catalog import CONF_DIR
from medssr.errors import InputError

Counterpart = TypeVar("Counterpart")


@dataclass
class SettingsReader:
    """Settings of a training or a protocol as an exporter reads them, one field after another, by their keys.

    An exporter reads each field that it translates and calls `refuse_rest` at the end. No list of unsupported fields is
    kept anywhere: a field that nobody reads has to have its default value, also when it was added to the schema later.

    Attributes:
        framework: The name of the other framework, for messages.
        key: The key of the settings in the configuration, for messages.
        settings: The settings to export.
        defaults: The settings that the exporters were written for.
    """

    framework: str
    key: str
    settings: ExportSettings | ProtocolConfig
    defaults: ExportSettings | ProtocolConfig
    _values: dict[str, Any] = field(init=False)
    _keys_read: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        """Gives each field of the settings its key."""
        self._values = _flatten(asdict(self.settings))

    def __contains__(self, name: str) -> bool:
        """Returns whether the settings have a field; a node with a `_target_` need not give all of its arguments."""
        return name in self._values

    def value(self, name: str) -> Any:
        """Returns the value of a field that the framework has, too, with the same meaning."""
        self._keys_read.add(name)
        return self._values[name]

    def counterpart(self, name: str, counterparts: Mapping[Any, Counterpart]) -> Counterpart:
        """Returns what the framework has in place of a field's value.

        Args:
            name: The key of the field.
            counterparts: The framework's value for each of this project's values that it supports.

        Raises:
            InputError: When the framework has nothing for the value.
        """
        value = self.value(name)
        if value not in counterparts:
            raise self._refusal(name, "change it")
        return counterparts[value]

    def renamed(self, node: str, names: Mapping[str, str]) -> dict[str, Any]:
        """Returns the arguments of a node by the framework's names.

        Args:
            node: The key of a node with a `_target_`, which need not have all of the arguments.
            names: The framework's name for each of this project's arguments that it has, too.
        """
        return {theirs: self.value(f"{node}.{ours}") for ours, theirs in names.items() if f"{node}.{ours}" in self}

    def ignore(self, *names: str) -> None:
        """Marks fields whose values make no difference to what the framework computes."""
        self._keys_read.update(names)

    def refuse_stop(self, stop: Sequence[str]) -> None:
        """Raises InputError where strings end the policy's completions, for a framework in which only tokens do."""
        if stop:
            raise InputError(
                f"model.stop, model.stop_without_template: {self.framework} has no counterpart of "
                f"{_shown(list(stop))}; set both to [], or leave {self.framework} out of targets."
            )

    def refuse_rest(self) -> None:
        """Raises InputError for the first field that has not been read and differs from its default."""
        defaults = _flatten(asdict(self.defaults))
        for name, value in self._values.items():
            if name in self._keys_read:
                continue
            if name not in defaults:
                raise self._refusal(name, "leave it out")
            if value != defaults[name]:
                raise self._refusal(name, f"set it to {_shown(defaults[name])}")

    def _refusal(self, name: str, remedy: str) -> InputError:
        return InputError(
            f"{self.key}.{name}: {self.framework} has no counterpart of {_shown(self._values[name])}; {remedy}, or "
            f"leave {self.framework} out of targets."
        )


def default_settings() -> ExportSettings:
    """Returns the settings `recommended` of conf/export.yaml, without anything that a user has set."""
    from medssr.cli.entry import composed

    without_local = ["~local"] if (CONF_DIR / "local" / "default.yaml").is_file() else []
    config = composed("export", ["data.path=unused", "model.path=unused", *without_local])
    settings = config.settings["recommended"]
    assert isinstance(settings, ExportSettings)
    return settings


def default_protocol() -> ProtocolConfig:
    """Returns the protocol of conf/protocol/sampled.yaml, without anything that a user has set."""
    from medssr.cli.entry import composed

    without_local = ["~local"] if (CONF_DIR / "local" / "default.yaml").is_file() else []
    protocol = composed("evaluate", without_local).protocol
    assert isinstance(protocol, ProtocolConfig)
    return protocol


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values below a node by their keys, joined by dots; lists are values.

    Example:
        >>> _flatten({"grpo": {"beta": 0.1, "loss": {"epsilon": 0.2}}})
        {'grpo.beta': 0.1, 'grpo.loss.epsilon': 0.2}
    """
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _shown(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def require_enough_questions(num_questions: int, reader: SettingsReader) -> None:
    """Raises InputError when a step asks for more questions than there are; other frameworks repeat none within it."""
    num_prompts = reader.value("grpo.num_prompts_per_step")
    if num_questions < num_prompts:
        raise InputError(
            f"{reader.key}.grpo.num_prompts_per_step: {num_prompts} questions a step, but there are {num_questions}; "
            "other frameworks repeat no question within a step. Lower it."
        )


# The betas that torch takes where the configuration gives none.
_TORCH_BETAS = (0.9, 0.999)


@dataclass(frozen=True, slots=True)
class AdamW:
    """AdamW with a linear warm-up to a constant rate; the warm-up counts rollouts."""

    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    num_warmup_steps: int


def read_adamw(reader: SettingsReader) -> AdamW:
    """Returns the numbers of the optimiser and its schedule.

    Raises:
        InputError: When it is another optimiser or another schedule.
    """
    reader.counterpart("optim.optimizer._target_", {"torch.optim.AdamW": "AdamW"})
    reader.counterpart(
        "optim.scheduler._target_", {"medssr.training.optimizer_step.warmup_then_constant": "constant_with_warmup"}
    )
    reader.ignore("optim.optimizer.fused")  # changes speed and rounding alone
    has_betas = "optim.optimizer.betas" in reader
    beta1, beta2 = reader.value("optim.optimizer.betas") if has_betas else _TORCH_BETAS
    return AdamW(
        reader.value("optim.optimizer.lr"),
        reader.value("optim.optimizer.weight_decay"),
        (beta1, beta2),
        reader.value("optim.scheduler.num_warmup_steps"),
    )


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], features: Any) -> None:
    """Writes the rows, whole or not at all.

    Args:
        path: The file.
        rows: One dictionary each.
        features: Their types, of `datasets`; named, so that a column of nulls has the type that it has elsewhere.
    """
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(list(rows), features=features).to_parquet(str(temporary))
    temporary.replace(path)
