"""The unbiased estimate of pass@k."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from medssr.statistics.intervals import FloatArray


def pass_at_k(num_correct: ArrayLike, num_samples: int, k: int) -> FloatArray:
    """Returns, for each question, the unbiased estimate that at least one of k samples is right.

    With c of n samples right it is 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, equation 1), here
    as the product of (n - c - j) / (n - j) for j = 0 ... k - 1, which cannot overflow.

    Args:
        num_correct: `[Q]`, how many of the samples of each question are right.
        num_samples: Samples for each question.
        k: Samples that are drawn without replacement.

    Raises:
        ValueError: When k lies outside 1 ... num_samples or a count outside 0 ... num_samples.

    Example:
        Two of four right, k = 2: 1 - C(2, 2) / C(4, 2) = 1 - 1/6.

        >>> pass_at_k([2, 0, 3], num_samples=4, k=2).round(4).tolist()
        [0.8333, 0.0, 1.0]
    """
    correct = np.asarray(num_correct, dtype=np.int64)  # [Q]
    if not 1 <= k <= num_samples:
        raise ValueError(f"expected 1 <= k <= num_samples, found k = {k} and num_samples = {num_samples}")
    if correct.size and (correct.min() < 0 or correct.max() > num_samples):
        raise ValueError(f"expected counts from 0 to {num_samples}, found {correct.min()} to {correct.max()}")
    drawn = np.arange(k)  # [k]
    all_wrong = np.clip(num_samples - correct[..., None] - drawn, 0, None) / (num_samples - drawn)  # [Q, k]
    result: FloatArray = 1.0 - all_wrong.prod(axis=-1)
    return result
