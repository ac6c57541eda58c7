"""Seeds that depend on what is sampled and not on when: the same after a restart and in any batch order."""

from __future__ import annotations

import hashlib
import json


def derive_seed(*parts: int | str) -> int:
    """Returns a 63-bit seed from the parts (run seed, stage, step, question id, sample), the same on every machine.

    Hashed and not added up, so that neighbouring parts do not share random streams.

    Example:
        >>> derive_seed(0, "rho", 1) == derive_seed(0, "rho", 1) != derive_seed(0, "rho", 2)
        True
    """
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
