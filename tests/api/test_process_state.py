"""What belongs to the whole process is as it was before a step."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import subprocess
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import wandb
from support.helpers import typed
from transformers.utils import logging as transformers_logging

import medssr
from medssr.api.process_state import kept_process_state
from medssr.models.device import prepared_for, prepared_process
from medssr.utils.instantiate import loads_model

NAMED = {"openai": ["generator.model=NAME"], "hf": ["generator.model.path=NAME"]}


def test_environment_loggers_and_signal_handlers_are_put_back(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("REMOVED", "before")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    logger = logging.getLogger("of.the.program")
    logger.setLevel(logging.INFO)
    root_handlers, handler = list(logging.root.handlers), signal.getsignal(signal.SIGUSR1)
    with kept_process_state():
        os.environ |= {"KEPT": "within", "ADDED": "within"}
        del os.environ["REMOVED"]
        logger.setLevel(logging.ERROR)
        logger.disabled = True
        logging.root.addHandler(logging.NullHandler())
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    assert (os.environ["KEPT"], os.environ["REMOVED"], os.environ.get("ADDED")) == ("before", "before", None)
    assert (logger.level, logger.disabled) == (logging.INFO, False)
    assert logging.root.handlers == root_handlers
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_the_random_generator_and_warning_filters_are_put_back():
    state, filters = random.getstate(), list(warnings.filters)
    with kept_process_state():
        random.random()
        warnings.simplefilter("error")
    assert (random.getstate(), warnings.filters) == (state, filters)


def test_what_wandb_started_is_ended_and_what_the_program_started_is_not(monkeypatch):
    ended = []
    monkeypatch.setattr(wandb, "teardown", lambda: ended.append(os.environ["WANDB_SERVICE"]))
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    with kept_process_state():
        os.environ["WANDB_SERVICE"] = "of the block"
    assert (ended, "WANDB_SERVICE" in os.environ) == (["of the block"], False)
    monkeypatch.setenv("WANDB_SERVICE", "of the program")
    with kept_process_state():
        pass
    assert (ended, os.environ["WANDB_SERVICE"]) == (["of the block"], "of the program")


@pytest.mark.slow
def test_no_process_of_wandb_stays(tmp_path):
    before = wandb_processes()
    with kept_process_state():
        settings = wandb.Settings(silent=True, console="off")
        with wandb.init(mode="offline", dir=tmp_path, settings=settings) as run:
            run.log({"a": 1})
        assert wandb_processes()
    assert wandb_processes() == before


def wandb_processes() -> set[str]:
    """Returns the ids of W&B's services that this process has started and that have not ended."""
    command = ["ps", "--ppid", str(os.getpid()), "-o", "pid=,state=,comm="]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
    return {
        pid for pid, state, name in (line.split(maxsplit=2) for line in lines) if name == "wandb-core" and state != "Z"
    }


def test_the_variables_of_processes_that_train_together_stay(monkeypatch):
    """Lightning sets them once; a further step of the same script trains in the same processes."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with kept_process_state():
        monkeypatch.setenv("LOCAL_RANK", "0")
        os.environ["WORLD_SIZE"] = "2"
    assert os.environ["WORLD_SIZE"] == "2"


@pytest.mark.slow
def test_generators_settings_of_torch_and_libraries_are_put_back():
    config = typed("train", "extras.num_threads=1", "seed=3")
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    verbosity, level = transformers_logging.get_verbosity(), logging.getLogger("lightning.pytorch").level
    with prepared_process(config.extras, config.seed):
        first = torch.rand(3)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        torch.backends.cudnn.benchmark = True
        torch.set_grad_enabled(False)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert (torch.get_num_threads(), warnings.filters) == (threads, filters)
    assert (transformers_logging.get_verbosity(), logging.getLogger("lightning.pytorch").level) == (verbosity, level)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.benchmark
    assert torch.is_grad_enabled()
    with prepared_process(config.extras, config.seed):
        assert torch.equal(torch.rand(3), first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "option", "loads"),
    [
        *[("generator", name, False) for name in ("grounded", "openai", "graph")],
        *[("generator", name, True) for name in ("hf", "tiny_writer")],
        *[("retriever", name, False) for name in ("bm25", "fused")],
        *[("retriever", name, True) for name in ("medcpt", "fused_medcpt", "rerank")],
    ],
)
def test_a_step_prepares_for_a_model_where_one_is_loaded(group, option, loads):
    node = getattr(typed("synthesize", f"{group}={option}", *NAMED.get(option, ())), group)
    assert loads_model(node, group) is loads
    config = typed("synthesize")
    assert isinstance(prepared_for(config.extras, config.seed, **{group: node}), nullcontext) is not loads


@pytest.mark.slow
def test_a_configuration_of_another_command_is_refused():
    with pytest.raises(
        medssr.InputError, match=r'found CompareConfig, expected TrainConfig; give medssr.compose\("train"'
    ):
        medssr.train(medssr.compose("compare"))


def test_a_script_that_its_own_reward_process_runs_again_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(medssr.InputError, match='put the calls below: if __name__ == "__main__":'):
        medssr.compare(medssr.compose("compare"))


@pytest.mark.slow
def test_several_trainers_of_a_pipeline_are_for_the_command():
    with pytest.raises(medssr.InputError, match=r"trainer\.devices: 2; from Python a pipeline trains in one process"):
        medssr.pipeline(medssr.compose("pipeline", ["trainer=ddp", "trainer.devices=2"]))
