"""Keeps what belongs to the whole process as it was: a program or a notebook calls several steps, and works on.

The settings and the random generators of NumPy and torch are kept by each step that loads a model
(`medssr.models.device.prepared_process`).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medssr.utils.stopping import SIGNALS

# Set by wandb while its service runs.
_WANDB_SERVICE = "WANDB_SERVICE"


@contextmanager
def kept_process_state() -> Iterator[None]:
    """Puts back after the block what belongs to the whole process, and ends what W&B started.

    That is environment, Python's random generator, warning filters, signal handlers, loggers, Hydra and OmegaConf.
    Where several processes train, the environment stays: further steps use the same processes.
    """
    # The environment is put back last, since W&B's service is found by a variable in it.
    with (
        _kept_environment(),
        _kept_wandb(),
        _kept_random_state(),
        warnings.catch_warnings(),
        _kept_signal_handlers(),
        _kept_loggers(),
        own_hydra(),
    ):
        yield


@contextmanager
def own_hydra() -> Iterator[None]:
    """Gives the block a Hydra without the configuration of the program around it, and puts that back afterwards."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.version import VersionBase
    from omegaconf.basecontainer import BaseContainer

    kinds: tuple[Any, ...] = (GlobalHydra, HydraConfig, VersionBase)
    instances = {kind: Singleton._instances.pop(kind) for kind in kinds if kind in Singleton._instances}
    schemas, resolvers = dict(ConfigStore.instance().repo), dict(BaseContainer._resolvers)
    try:
        yield
    finally:
        for kind in kinds:
            Singleton._instances.pop(kind, None)
        Singleton._instances.update(instances)
        ConfigStore.instance().repo = schemas
        BaseContainer._resolvers = resolvers


@contextmanager
def _kept_environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        # A launcher, or Lightning in its place, tells the processes of a training about each other by the environment.
        if "LOCAL_RANK" not in os.environ:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Puts back the state of `random`, which some libraries change when they are imported."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Puts signal handlers back; they belong to the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {signum: signal.getsignal(signum) for signum in (*SIGNALS, signal.SIGALRM)} if is_main else {}
    try:
        yield
    finally:
        for signum, handler in before.items():
            if handler is not None and signal.getsignal(signum) is not handler:  # None: set by other than Python
                signal.signal(signum, handler)


@contextmanager
def _kept_loggers() -> Iterator[None]:
    """Puts back the loggers that there were; those of libraries that the block imports stay as these made them."""
    names = [name for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)]
    loggers = [logging.root, *map(logging.getLogger, names)]
    before = [(logger.level, list(logger.handlers), logger.propagate, logger.disabled) for logger in loggers]
    try:
        yield
    finally:
        for logger, (level, handlers, propagates, is_disabled) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers
            logger.propagate, logger.disabled = propagates, is_disabled


@contextmanager
def _kept_wandb() -> Iterator[None]:
    """Ends the service of W&B if the block started it; that of the program around it, and its runs, go on."""
    was_running = _WANDB_SERVICE in os.environ
    try:
        yield
    finally:
        if not was_running and _WANDB_SERVICE in os.environ:
            import wandb

            wandb.teardown()
            os.environ.pop(_WANDB_SERVICE, None)
