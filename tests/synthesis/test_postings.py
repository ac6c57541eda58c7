from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medssr.synthesis.postings import Postings, WeightedText

WORDS = st.lists(st.integers(0, 6), min_size=1, max_size=8)


def text(words, weight=1.0):
    weights = np.array([weight * (1 + abs(word)) for word in words])
    return WeightedText(words, weights, float(weights.sum()))


def test_shared_words_are_counted_and_weighed_on_either_side():
    # Of 20 texts two have the word 1 and one the word 2, each twice; the others are filled up with words of their own.
    texts = [text([1, 1, 2]), text([1, 9]), *(text([10 + number]) for number in range(18))]
    overlaps = Postings(texts, least=0.1).overlaps(text([1, 2, 1, -1], weight=10.0))
    assert overlaps is not None
    assert overlaps.indices.tolist() == [0, 1]
    assert overlaps.num_shared.tolist() == [3, 1]
    assert overlaps.text_weight.tolist() == [2 + 2 + 3, 2]
    assert overlaps.question_weight.tolist() == [20 + 20 + 30, 20]


def test_a_question_without_a_known_word_has_no_overlaps():
    assert Postings([text([1]), text([2])], least=0.5).overlaps(text([-1, 3])) is None
    assert Postings([], least=0.5).overlaps(text([1])) is None


@pytest.mark.slow
@pytest.mark.parametrize("least", [0.3, 0.6, 1.0])
@given(st.lists(WORDS, min_size=1, max_size=12), WORDS)
def test_no_text_that_shares_enough_is_left_out_however_common_its_words(least, texts, words):
    question = text(words, weight=2.0)
    weighted = [text(item) for item in texts]
    overlaps = Postings(weighted, least).overlaps(question)
    found = {} if overlaps is None else dict(zip(overlaps.indices.tolist(), range(len(overlaps.indices)), strict=True))
    for place, item in enumerate(weighted):
        shared = Counter(item.words) & Counter(words)
        weight = sum((1 + word) * count for word, count in shared.items())
        if max(weight / item.total, 2 * weight / question.total) >= least + 1e-9:
            assert place in found
        if place in found:
            assert overlaps is not None
            assert overlaps.num_shared[found[place]] == shared.total()
            assert overlaps.text_weight[found[place]] == pytest.approx(weight)
            assert overlaps.question_weight[found[place]] == pytest.approx(2 * weight)
