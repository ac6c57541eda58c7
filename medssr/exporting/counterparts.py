"""What a framework cannot do is refused when the export is made, not found out on its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from medssr.config import GRPOConfig
from medssr.errors import InputError


def require_counterparts(framework: str, grpo: GRPOConfig, key: str, has_counterpart: Mapping[str, bool]) -> None:
    """Raises InputError for the first setting whose value a framework has no counterpart of.

    Args:
        framework: Its name.
        grpo: The settings.
        key: Their place in the configuration.
        has_counterpart: By field, whether the framework has one of the value that `grpo` has there.
    """
    for name, is_met in has_counterpart.items():
        if not is_met:
            value = getattr(grpo, name)
            shown = value.value if isinstance(value, Enum) else value
            raise InputError(
                f"{key}.{name}: {framework} has no counterpart of {shown}; change it, or leave {framework} out of "
                "targets."
            )


def require_enough_questions(num_questions: int, grpo: GRPOConfig, key: str) -> None:
    """Raises InputError when a step asks for more questions than there are; other frameworks repeat none within it."""
    if num_questions < grpo.num_prompts_per_step:
        raise InputError(
            f"{key}.num_prompts_per_step: {grpo.num_prompts_per_step} questions a step, but there are {num_questions}; "
            "other frameworks repeat no question within a step. Lower it."
        )
