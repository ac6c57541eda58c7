"""Toy questions, completions and policies that several test folders build on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from medssr.config import GRPOConfig, register
from medssr.config.catalog import CONF_DIR, options_of
from medssr.engines.completions import find_stop
from medssr.engines.types import Completion
from medssr.grpo.losses import PolicyLoss
from medssr.knowledge.corpora import Passage
from medssr.models.from_scratch import new_model, train_tokenizer
from medssr.models.policy import Policy
from medssr.questions import Question
from medssr.sweeps.composing import JobLoader
from medssr.utils.instantiate import instantiate

ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    # Large, so that the next-token distributions are far from uniform and mistakes show.
    "initializer_range": 0.2,
}
TEXTS = [
    "Which organ makes insulin? A. liver: no. B. pancreas: yes. The answer is B.",
    "Which gene is at fault in Fabry disease? A. GLA: yes. B. HBB: no. The answer is A.",
]


def random_policy(family: str, seed: int = 0, **architecture: Any) -> Policy:
    """A policy with random weights, the same for the same seed."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=320, family=family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = new_model(family, ARCHITECTURE | architecture, tokenizer)
    return Policy(model.eval(), tokenizer, "{question}")


def copy_policy(policy: Policy) -> Policy:
    """A policy of the same weights, to change at will."""
    return Policy(deepcopy(policy.model), policy.tokenizer, policy.prompt_template)


def are_same(one: Any, other: Any) -> bool:
    """Whether two nests of mappings, lists, tensors and values are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(are_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(are_same, one, other))
    return one == other


def toy_question(number: int = 0, answer: str | None = "A", **fields: Any) -> Question:
    """A question with two options whose stem names its number."""
    return Question(
        f"q{number}", f"Which organ is number {number}?", {"A": "liver", "B": "heart"}, answer, "toy", **fields
    )


def completion(token_ids: list[int] | None = None, text: str = "", is_truncated: bool = False) -> Completion:
    """A completion whose log-probabilities do not matter."""
    ids = [1, 2, 3] if token_ids is None else token_ids
    return Completion(ids, [-1.0] * len(ids), text, is_truncated)


# What makes a stage of GRPO short enough for a test; everything else is as in conf/grpo/default.yaml.
SHORT_STAGE: dict[str, Any] = {
    "num_steps": 3,
    "num_prompts_per_step": 2,
    "num_generations": 4,
    "shuffle_options": False,
    "max_new_tokens": 6,
    "micro_batch_tokens": 400,
    "head_chunk_tokens": None,
    "beta": 0.001,
}


LOSSES = sorted(name for name in options_of("grpo/loss") if name != "custom")


def grpo_config(loss: str = "dapo", loss_values: Mapping[str, Any] | None = None, **values: Any) -> GRPOConfig:
    """The settings of a very short stage, but for `values`, with the loss of a name, but for `loss_values`."""
    return replace(_grpo_defaults(), loss=loss_node(loss, **(loss_values or {})), **(SHORT_STAGE | values))


def loss_node(name: str, **values: Any) -> dict[str, Any]:
    """The configuration of a loss, but for `values`."""
    return {**_loss_defaults(name), **values}


def policy_loss(name: str, **values: Any) -> PolicyLoss:
    """The loss of a name with the parameters of its YAML file, but for `values`."""
    loss: PolicyLoss = instantiate(loss_node(name, **values), "grpo.loss")
    return loss


@cache
def _loss_defaults(name: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return OmegaConf.to_object(hydra.compose(f"grpo/loss/{name}").grpo.loss)  # type: ignore[return-value]


@cache
def _grpo_defaults() -> GRPOConfig:
    config: GRPOConfig = typed("train").grpo
    return config


@cache
def compose(root: str, *overrides: str) -> DictConfig:
    """The configuration of a command; a word stands in place of each value that the user has to give."""
    register(root)
    config = _loader().load_configuration(root, ["paths.root_dir=/somewhere", *overrides], RunMode.RUN, False)
    with open_dict(config):
        del config["hydra"]
    for key in missing_keys(config):
        OmegaConf.update(config, key, "given")
    return config


@cache
def _loader() -> JobLoader:
    """Hydra's loader, which composes once what differs in values alone."""
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return JobLoader(GlobalHydra.instance().config_loader())


def missing_keys(node: DictConfig, prefix: str = "") -> list[str]:
    """The full keys of the values that the user has to give; OmegaConf's own fails where one is interpolated."""
    found = []
    for name in node:
        if OmegaConf.is_missing(node, name):
            found.append(f"{prefix}{name}")
        elif not OmegaConf.is_interpolation(node, name) and isinstance(node[name], DictConfig):
            found += missing_keys(node[name], f"{prefix}{name}.")
    return found


def typed(root: str, *overrides: str) -> Any:
    """The configuration as the command gets it."""
    return OmegaConf.to_object(compose(root, *overrides))


# Resources of a vLLM in process that fits beside others on a CPU.
SMALL_VLLM = {
    "max_num_seqs": 32,
    "max_model_len": 512,
    "gpu_memory_utilization": 0.3,
    "cpu_kv_cache_gib": 0.25,
    "sleep": True,
    "max_logp_gap": 0.1,
}


def expected_completion(whole: Completion, policy: Policy, stop: tuple[str, ...]) -> Completion:
    """What a completion becomes with stop strings, token by token."""
    for length in range(1, len(whole.token_ids) + 1):
        text = policy.tokenizer.decode(whole.token_ids[:length], skip_special_tokens=True)
        index = find_stop(text, stop)
        if index is not None:
            return Completion(whole.token_ids[:length], whole.logps[:length], text[:index], is_truncated=False)
    return whole


class LetterEngine:
    """An engine that answers A in three of four samples, else B, whatever it is asked."""

    fills_gpu = False

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def generate(self, prompts: list[list[int]], seeds: list[list[int]], sampling: Any) -> list[list[Completion]]:
        return [[self._answer("B" if place % 4 == 3 else "A") for place in range(len(row))] for row in seeds]

    def _answer(self, letter: str) -> Completion:
        text = f"The answer is {letter}."
        token_ids = [*self._policy.tokenizer(text)["input_ids"], self._policy.tokenizer.eos_token_id]
        return Completion(token_ids, [-1.0] * len(token_ids), text, is_truncated=False)

    def reserve(self, num_tokens: Callable[[], int]) -> None:
        pass

    def sync_weights(self, model: Any) -> float | None:
        return None

    def release_memory(self) -> None:
        pass

    def close(self) -> None:
        pass


class EngineOfOneGoodStep(LetterEngine):
    """An engine whose greedy answers are A after one training step, else B."""

    num_syncs = 0

    def sync_weights(self, model: Any) -> None:
        self.num_syncs += 1

    def generate(self, prompts: list[list[int]], seeds: list[list[int]], sampling: Any) -> list[list[Completion]]:
        if sampling.top_k != 1:
            return super().generate(prompts, seeds, sampling)
        return [[self._answer("A" if self.num_syncs == 2 else "B")] for _ in prompts]


class MixedEngine(LetterEngine):
    """An engine with a copy of the weights, whose answers are of every kind: right, wrong, cut, unreadable."""

    texts = ("The answer is A.", "The answer is B.", "Hm.", "The answer is A.")

    def generate(self, prompts: list[list[int]], seeds: list[list[int]], sampling: Any) -> list[list[Completion]]:
        return [[self._of_kind(place % 4) for place in range(len(row))] for row in seeds]

    def sync_weights(self, model: Any) -> float:
        return 0.01

    def _of_kind(self, kind: int) -> Completion:
        answer = replace(self._answer("A"), text=self.texts[kind])
        if kind < 3:
            return answer
        return replace(answer, token_ids=answer.token_ids[:-1], logps=answer.logps[:-1], is_truncated=True)


class ListCorpus:
    """A corpus in memory."""

    def __init__(self, *passages: Passage) -> None:
        self._passages = passages

    def passages(self) -> Iterator[Passage]:
        return iter(self._passages)


def texts_corpus(*texts: str) -> ListCorpus:
    """Passages without a title; their ids are their numbers."""
    return ListCorpus(*(Passage(str(number), "", text) for number, text in enumerate(texts)))
