"""What belongs to the whole process is as it was before a step."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import warnings

import numpy as np
import pytest
import torch
from support.helpers import typed
from transformers.utils import logging as transformers_logging

import medssr
from medssr.api.process_state import kept_process_state
from medssr.models.device import prepared_process


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


def test_the_variables_of_processes_that_train_together_stay(monkeypatch):
    """Lightning sets them once; a further step of the same script trains in the same processes."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with kept_process_state():
        monkeypatch.setenv("LOCAL_RANK", "0")
        os.environ["WORLD_SIZE"] = "2"
    assert os.environ["WORLD_SIZE"] == "2"


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


def test_a_configuration_of_another_command_is_refused():
    with pytest.raises(
        medssr.InputError, match=r'found CompareConfig, expected TrainConfig; give medssr.compose\("train"'
    ):
        medssr.train(medssr.compose("compare"))


def test_a_script_that_its_own_reward_process_runs_again_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(medssr.InputError, match='put the calls below: if __name__ == "__main__":'):
        medssr.compare(medssr.compose("compare"))


def test_several_trainers_of_a_pipeline_are_for_the_command():
    with pytest.raises(medssr.InputError, match=r"trainer\.devices: 2; from Python a pipeline trains in one process"):
        medssr.pipeline(medssr.compose("pipeline", ["trainer=ddp", "trainer.devices=2"]))
