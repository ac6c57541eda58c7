import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.models.batching import pad_rollouts, split_by_tokens

ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 99), min_size=1, max_size=6), st.lists(st.integers(1, 99), min_size=1, max_size=6)
    ),
    min_size=1,
    max_size=5,
)
LENGTHS = st.lists(st.integers(1, 50), max_size=40)


def test_prompts_end_and_completions_begin_at_the_same_column():
    batch = pad_rollouts([[1, 2, 3], [4]], [[5], [6, 7]], pad_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 3, 5, 0], [0, 0, 4, 6, 7]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert batch.completion_ids.tolist() == [[5, 0], [6, 7]]
    assert batch.completion_mask.tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_positions_count_tokens_and_not_columns():
    batch = pad_rollouts([[1, 2, 3], [4]], [[5, 6], [7, 8]], pad_id=0)
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]


def test_the_pad_token_counts_where_it_was_sampled():
    batch = pad_rollouts([[1], [1]], [[0, 0], [2]], pad_id=0)
    assert batch.completion_mask.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_a_prompt_without_completion_is_an_error():
    with pytest.raises(AssertionError, match="one prompt"):
        pad_rollouts([[1], [2]], [[3]], pad_id=0)


@pytest.mark.slow
@given(ROWS)
def test_every_row_can_be_read_back(rows):
    prompts, completions = (list(column) for column in zip(*rows, strict=True))
    batch = pad_rollouts(prompts, completions, pad_id=0)
    for row, (prompt, completion) in enumerate(rows):
        assert batch.input_ids[row][batch.attention_mask[row].bool()].tolist() == prompt + completion
        assert batch.completion_ids[row][batch.completion_mask[row].bool()].tolist() == completion
        positions = batch.position_ids[row][batch.attention_mask[row].bool()]
        assert positions.tolist() == list(range(len(prompt) + len(completion)))
    assert torch.equal(batch.completion_ids, batch.input_ids[:, -batch.completion_ids.shape[1] :])


def test_rows_of_like_length_go_together():
    assert split_by_tokens([10, 2, 9, 3], max_tokens=20) == [[0, 2], [3, 1]]


def test_a_row_beyond_the_budget_is_alone():
    assert split_by_tokens([5, 100, 5], max_tokens=10) == [[1], [0, 2]]


def test_nothing_makes_no_batch():
    assert split_by_tokens([], max_tokens=10) == []


@pytest.mark.slow
@given(LENGTHS, st.integers(1, 200))
def test_each_row_is_in_one_batch_and_batches_keep_to_the_budget(lengths, max_tokens):
    batches = split_by_tokens(lengths, max_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens


@pytest.mark.slow
@given(LENGTHS, st.integers(1, 200))
def test_a_batch_ends_only_where_the_next_row_does_not_fit(lengths, max_tokens):
    batches = split_by_tokens(lengths, max_tokens)
    for batch in batches[:-1]:
        assert max(lengths[row] for row in batch) * (len(batch) + 1) > max_tokens
