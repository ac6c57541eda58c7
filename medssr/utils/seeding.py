"""Derives seeds from what is sampled, not from when; saves and restores the states of random generators."""

from __future__ import annotations

import hashlib
import json
import os
import random
from typing import Any, cast


def derive_seed(*parts: int | str) -> int:
    """Returns a 63-bit seed from the parts (run seed, stage, step, question id, sample), the same on every machine.

    Hashed and not added up, so that neighbouring parts have unrelated random streams.

    Example:
        >>> derive_seed(0, "rho", 1) == derive_seed(0, "rho", 1) != derive_seed(0, "rho", 2)
        True
    """
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Sets the generators of Python, NumPy and torch to the seed, as Lightning's function of this name does.

    Commands that train nothing get along without Lightning so, whose import takes a second or more. The variables are
    those by which Lightning seeds the processes that it starts.
    """
    import numpy as np
    import torch

    os.environ |= {"PL_GLOBAL_SEED": str(seed), "PL_SEED_WORKERS": "0"}
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """Returns the states of the generators of Python, NumPy and torch (CPU and GPUs), as plain values and tensors."""
    import numpy as np
    import torch

    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state())
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Sets the generators to what `random_states` returned; those of GPUs where there are as many."""
    import numpy as np
    import torch

    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
