"""EVOL-RL: by hand, against a slow version, and with an encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encoders import random_encoder
from support.helpers import completion, toy_question

from medssr.answers import Choice
from medssr.errors import InputError
from medssr.rewards.groups import GroupInput
from medssr.rewards.novelty import NovelMajority, ngram_counts, novelty_rewards

BY_WORDS = {"num_trained": None, "encoder_path": None, "max_length": 16, "num_words": 1}


def group(letters, texts):
    return GroupInput(
        toy_question(answer=None),
        [replace(completion(), text=text) for text in texts],
        [Choice(None if letter == "-" else letter, "") for letter in letters],
    )


def scored(letters, texts, **settings):
    return NovelMajority(1.0, **BY_WORDS | settings).score_group(group(letters, texts))


def test_the_majority_is_positive_and_the_new_is_better_by_hand():
    """Of three equal answers two say the same; the third shares no word with them."""
    score = scored("AAAB-", ["gout toe", "gout toe", "liver", "gout heart", "gout"])
    # Similarities: 1 between the first two, 0 to the third; "gout heart" has 1/2 with the first two.
    # u: 1 - ((1 + 0)/2 + 1)/2 = 1/4 twice, and 1 - 0 = 1.
    assert list(score.rewards) == pytest.approx([0.5, 0.5, 1.0, -0.5, -1.0])
    assert score.label == "A"


def test_others_are_compared_among_themselves():
    score = scored("AAABC", ["gout"] * 3 + ["gout toe", "liver"])
    # u of "gout toe": mean with "liver" 0, largest cos(gout, gout toe) = 0.71; of "liver": 1, so it is the newer one.
    assert list(score.rewards) == pytest.approx([0.75, 0.75, 0.75, -1.0, -0.5])


def test_thinking_is_not_compared():
    texts = ["<think>liver heart</think>gout", "<think>toe</think>gout", "toe"]
    assert list(scored("AAA", texts).rewards) == pytest.approx([0.5, 0.5, 1.0])


def test_a_tie_rewards_nobody_and_further_completions_only_vote():
    assert list(scored("AB", ["gout", "toe"]).rewards) == [0.0, 0.0]
    score = scored("ABBB", ["gout", "toe", "gout", "gout"], num_trained=2)
    assert list(score.rewards) == [-0.5, 1.0, None, None]
    assert list(scored("A-", ["gout", "toe"]).rewards) == [1.0, -1.0]
    assert list(scored("--", ["gout", "toe"]).rewards) == [0.0, 0.0]


def slow_rewards(similarities, sides):
    """The slow version: one pair after the other."""
    novelty = []
    for i, side in enumerate(sides):
        alike, everyone = [], []
        for j, other in enumerate(sides):
            if i != j:
                everyone.append(similarities[i][j])
                if side == other:
                    alike.append(similarities[i][j])
        mean = sum(alike or everyone) / len(alike or everyone)
        novelty.append(1 - 0.5 * mean - 0.5 * max(everyone))
    rewards = []
    for i, side in enumerate(sides):
        same = [novelty[j] for j, other in enumerate(sides) if side == other]
        low, high = (0.5, 1.0) if side else (-1.0, -0.5)
        if len(same) == 1:
            rewards.append(high)
        elif max(same) - min(same) < 1e-11:
            rewards.append((low + high) / 2)
        else:
            rewards.append(low + (high - low) * (novelty[i] - min(same)) / (max(same) - min(same)))
    return rewards


@pytest.mark.slow
@given(st.integers(2, 7), st.data())
def test_the_rewards_are_those_of_a_slow_version(number, data):
    share = st.integers(0, 10).map(lambda value: value / 10)
    table = np.ones((number, number))
    for i in range(number):
        for j in range(i):
            table[i, j] = table[j, i] = data.draw(share)
    sides = data.draw(st.lists(st.booleans(), min_size=number, max_size=number))
    assert novelty_rewards(table, sides) == pytest.approx(slow_rewards(table.tolist(), sides))


@pytest.mark.slow
@given(st.permutations(range(5)))
def test_rewards_do_not_depend_on_the_order_of_completions(order):
    texts = ["gout toe", "gout toe toe", "liver gout", "heart", "heart toe"]
    found = scored("AAABC", texts).rewards
    moved = scored(["AAABC"[index] for index in order], [texts[index] for index in order]).rewards
    assert list(moved) == pytest.approx([found[index] for index in order])


def test_counts_of_words_by_hand():
    assert ngram_counts(["gout", ""], 2).tolist() == [[1, 0], [0, 1]]  # shorter than an n-gram: one of its own


def test_an_encoder_gives_vectors_that_are_compared(tmp_path):
    path = str(random_encoder(tmp_path / "encoder", seed=1))
    texts = ["gout toe", "liver heart cell", "gout toe"]
    rewards = list(scored("AAA", texts, encoder_path=path).rewards)
    assert rewards == pytest.approx([0.5, 1.0, 0.5])
    with pytest.raises(InputError, match=r"NovelMajority\.encoder_path: .* could not be loaded"):
        scored("AA", texts[:2], encoder_path=str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"num_words: 0; at least 1"):
        scored("AA", texts[:2], num_words=0)
