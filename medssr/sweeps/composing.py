"""Composes the jobs of a sweep: Hydra once for each choice of options, and each job from a copy of what it composed.

Hydra takes a fifth of a second for a configuration, whichever of its values are set; jobs differ in few of them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from hydra.types import HydraContext, RunMode
    from omegaconf import DictConfig


def composing_once(context: HydraContext) -> HydraContext:
    """Returns a context whose loader composes what jobs share once; each sweep needs one of its own."""
    from hydra.types import HydraContext

    return HydraContext(config_loader=JobLoader(context.config_loader), callbacks=context.callbacks)


class JobLoader(ConfigLoaderImpl):
    """Returns what Hydra's loader does, for files that stay as they are while it is used.

    Options and settings of Hydra itself decide what is read, merged and copied, so a configuration is composed for each
    set of them. Values are set afterwards, as Hydra does. A copy is kept as bytes, since reading them takes an eighth
    of the time of `copy.deepcopy`, and so that it goes to workers with the loader.

    Args:
        loader: Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__(loader.get_search_path())
        self._composed: dict[tuple[str | None, tuple[str, ...]], bytes] = {}
        self._groups: dict[tuple[str | None, tuple[str, ...], str], bool] = {}

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import open_dict

        parsed = OverridesParser.create().parse_overrides(overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        hydras = tuple(_line(override) for override in parsed if override.is_hydra_override())
        values = [
            override
            for override in parsed
            if not override.is_hydra_override() and not self._is_option(override, config_name, hydras)
        ]
        shared = tuple(_line(override) for override in parsed if override not in values)
        if (config_name, shared) not in self._composed:
            made = super()._load_configuration_impl(
                config_name, list(shared), run_mode, from_shell, validate_sweep_overrides
            )
            self._composed[config_name, shared] = pickle.dumps(made)
        config: DictConfig = pickle.loads(self._composed[config_name, shared])
        self._apply_overrides_to_config(values, config)
        tasks = [override for override in parsed if not override.is_hydra_override()]
        job: Any = config.hydra.job
        naming = job.config.override_dirname
        with open_dict(config.hydra):
            config.hydra.overrides.task = [_line(override) for override in tasks]
            config.hydra.runtime.cwd = str(Path.cwd())
            job.override_dirname = get_overrides_dirname(tasks, naming.exclude_keys, naming.item_sep, naming.kv_sep)
        return config

    def _is_option(self, override: Override, config_name: str | None, hydras: tuple[str, ...]) -> bool:
        """Returns whether an override chooses an option of a group, for which Hydra reads other files."""
        if isinstance(override.value(), dict):
            return False
        key = (config_name, hydras, override.key_or_group)
        if key not in self._groups:
            _, repository = self._parse_overrides_and_create_caching_repo(config_name, list(hydras))
            self._groups[key] = repository.group_exists(override.key_or_group)
        return self._groups[key]


def _line(override: Override) -> str:
    """Returns an override as it was given."""
    assert override.input_line is not None
    return override.input_line
