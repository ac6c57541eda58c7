"""Short names of jobs from the overrides that make them."""

from __future__ import annotations

from collections.abc import Sequence

# What changes no result, or is said elsewhere, names no job; as `hydra.job.config.override_dirname.exclude_keys`.
_UNNAMED = ("extras.", "paths.", "force", "logger", "study")


def job_name(overrides: Sequence[str]) -> str:
    """Returns the overrides that tell a job from others, each by the last part of its key.

    Example:
        >>> job_name(["synthesis.rare_share=0.2", "model=tiny_llama", "study=alpha", "+reward.mine.weight=1"])
        'rare_share=0.2,model=tiny_llama,weight=1'
        >>> job_name([])
        'defaults'
    """
    named = [text for text in overrides if not text.lstrip("+~").startswith(_UNNAMED)]
    parts = []
    for text in named:
        key, sign, value = text.lstrip("+~").partition("=")
        parts.append(f"{key.split('.')[-1]}{sign}{value}")
    return ",".join(parts) or "defaults"
