"""The typed configuration of an evaluation: benchmarks, rarity of questions, and protocol."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from medssr.config.groups import Node
from medssr.config.local_paths import InputPath
from medssr.errors import require


class Defect(Enum):
    """A defect of a benchmark question; `medssr.benchmarks.defects` defines each of them."""

    duplicate = "duplicate"
    duplicate_options = "duplicate_options"
    missing_figure = "missing_figure"
    figure_letters = "figure_letters"
    conflicting_gold = "conflicting_gold"


@dataclass
class ItemFieldsConfig:
    """Names of a dataset's fields; `id: null` numbers the rows, `options: null` reads options from the question."""

    id: str | None
    question: str
    options: str | None
    answer: str


@dataclass
class HubConfig:
    """A dataset on the hub, or a folder on disk that `datasets` can read."""

    path: InputPath
    name: str | None
    split: str
    revision: str | None
    fields: ItemFieldsConfig


@dataclass
class MemberConfig:
    """A benchmark of a suite: possible names of its file, number of questions, rarity, and its dataset on the hub."""

    files: list[str]
    num_questions: int | None = None
    is_rare: bool | None = None
    hub: HubConfig | None = None


@dataclass
class BenchmarkConfig:
    """The benchmarks of an evaluation: files, or named members with means over them."""

    path: InputPath | None
    members: dict[str, MemberConfig]
    means: dict[str, list[str]]
    exclude: list[Defect]

    def __post_init__(self) -> None:
        """Checks that there is a path or a member, and that means are over members."""
        require(
            self.path is not None or bool(self.members),
            "benchmark.path",
            "null, and benchmark.members is empty; name a file or a folder.",
        )
        for name, members in self.means.items():
            unknown = [member for member in members if member not in self.members]
            require(bool(members) and not unknown, f"benchmark.means.{name}", f"{members}; list some of the members.")


class RarityField(Enum):
    """A part of a question that is searched for disease names."""

    stem = "stem"
    gold_option = "gold_option"


@dataclass
class RarityConfig:
    """How rare-disease questions are recognised if the benchmark does not mark them."""

    entities: Node
    fields: list[RarityField]
    min_chars: int

    def __post_init__(self) -> None:
        """Checks that there is a field to search, and the range."""
        require(bool(self.fields), "rarity.fields", "is empty; name stem, gold_option or both.")
        require(self.min_chars >= 1, "rarity.min_chars", f"{self.min_chars}; at least 1.")


class ProtocolKind(Enum):
    """How an answer is obtained: from a completion, or from the likelihood of the option letters."""

    generate = "generate"
    letters = "letters"


@dataclass
class ProtocolConfig:
    """How the questions of a benchmark are asked."""

    name: str
    kind: ProtocolKind
    prompt_path: InputPath
    num_samples: int
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    second_pass: bool
    cue: str
    num_shots: int
    shots_path: InputPath | None
    prefill: str | None
    num_orders: int
    questions_per_chunk: int

    def __post_init__(self) -> None:
        """Checks ranges and combinations."""
        require(self.num_samples >= 1, "protocol.num_samples", f"{self.num_samples}; at least 1.")
        require(self.temperature >= 0, "protocol.temperature", f"{self.temperature}; at least 0.")
        require(
            self.temperature > 0 or self.num_samples == 1,
            "protocol.num_samples",
            f"{self.num_samples}; at temperature 0 all samples are the same, so 1.",
        )
        require(0 < self.top_p <= 1, "protocol.top_p", f"{self.top_p}; above 0, at most 1.")
        require(self.top_k >= 0, "protocol.top_k", f"{self.top_k}; at least 0.")
        require(
            self.questions_per_chunk >= 1, "protocol.questions_per_chunk", f"{self.questions_per_chunk}; at least 1."
        )
        require(self.num_orders >= 1, "protocol.num_orders", f"{self.num_orders}; at least 1.")
        require(self.num_shots >= 0, "protocol.num_shots", f"{self.num_shots}; at least 0.")
        require(
            self.num_shots == 0 or self.shots_path is not None,
            "protocol.shots_path",
            f"null, but protocol.num_shots is {self.num_shots}; name a file of questions with answers.",
        )
        if self.kind is ProtocolKind.generate:
            require(self.max_new_tokens >= 1, "protocol.max_new_tokens", f"{self.max_new_tokens}; at least 1.")
            require(
                self.prefill is None or self.num_orders == 1,
                "protocol.num_orders",
                f"{self.num_orders}; a prefill names letters, so the options stay in their order: 1.",
            )
        else:
            require(
                self.num_samples == 1 and self.max_new_tokens == 0 and not self.second_pass and self.prefill is None,
                "protocol.kind",
                "letters; nothing is generated, so num_samples is 1, max_new_tokens 0, no second pass and no prefill.",
            )
