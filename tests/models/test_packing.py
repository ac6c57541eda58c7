import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medssr.models.packing import pack_rollouts, split_by_packed_tokens

TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=6)
# Few prompts, so that many rows share one; completions of very unlike length.
ROWS = st.lists(
    st.tuples(
        st.sampled_from([[1, 2, 3], [4], [1, 2], [5, 6, 7, 8, 9]]),
        TOKENS | st.lists(st.integers(1, 99), min_size=20, max_size=30),
    ),
    min_size=1,
    max_size=8,
)


def columns(rows):
    prompts, completions = zip(*rows, strict=True)
    return list(prompts), list(completions)


def attended_tokens(packed):
    """For each token of the row, the tokens that it attends to (itself included), in the order of their positions."""
    ids, attended, start = packed.input_ids[0], [], 0
    for block in packed.blocks:
        num_tokens = len(block.indices)
        local = ids.new_zeros(block.num_rows * block.width).index_copy(
            0, block.indices, ids[start : start + num_tokens]
        )
        local = local.view(block.num_rows, block.width)
        start += num_tokens
        for index in block.indices.tolist():
            row, column = divmod(index, block.width)
            if block.context is None:
                attended.append(local[row, : column + 1].tolist())
            else:
                keys = torch.cat([ids[block.context[row]], local[row]])
                attended.append(keys[block.mask[row, 0, column] == 0].tolist())
    assert start == len(ids)
    return attended


@pytest.mark.slow
@given(ROWS)
def test_before_each_completion_token_stands_what_precedes_it(rows):
    packed = pack_rollouts(*columns(rows))
    attended, predictors = attended_tokens(packed), iter(packed.predictors.tolist())
    for prompt, completion in rows:
        for index in range(len(completion)):
            predictor = next(predictors)
            assert attended[predictor] == prompt + completion[:index]
            assert packed.position_ids[0, predictor] == len(prompt) + index - 1
    assert next(predictors, None) is None


@pytest.mark.slow
@given(ROWS)
def test_segments_and_contexts_say_the_same_as_blocks(rows):
    packed = pack_rollouts(*columns(rows))
    ids, expected = packed.input_ids[0], attended_tokens(packed)
    for query, tokens in enumerate(expected):
        is_prompt = packed.segments == packed.contexts[query]
        is_before = packed.segments == packed.segments[query]
        is_before[query + 1 :] = False
        assert ids[is_prompt].tolist() + ids[is_before].tolist() == tokens
    without = pack_rollouts(*columns(rows), has_blocks=False)
    assert without.blocks == ()
    assert torch.equal(without.input_ids, packed.input_ids)
    assert torch.equal(without.segments, packed.segments)


@pytest.mark.slow
@given(ROWS)
def test_each_prompt_is_there_once_and_nothing_is_padding(rows):
    packed = pack_rollouts(*columns(rows))
    prompts = {tuple(prompt) for prompt, _ in rows}
    expected = sum(len(prompt) for prompt in prompts) + sum(len(completion) - 1 for _, completion in rows)
    assert packed.input_ids.shape == packed.position_ids.shape == (1, expected)


@pytest.mark.slow
@given(ROWS)
def test_completions_can_be_read_back(rows):
    packed = pack_rollouts(*columns(rows))
    for row, (_, completion) in enumerate(rows):
        assert packed.completion_ids[row][packed.completion_mask[row].bool()].tolist() == completion


@pytest.mark.slow
@given(ROWS)
def test_at_least_half_of_the_longest_row_of_a_block_is_there_in_each(rows):
    for block in pack_rollouts(*columns(rows)).blocks:
        lengths = torch.bincount(block.indices // block.width, minlength=block.num_rows)
        assert lengths.max() == block.width
        assert 2 * lengths.min() >= block.width


def test_completions_of_one_token_need_their_prompt_alone():
    packed = pack_rollouts([[5, 6], [5, 6]], [[7], [8]])
    assert packed.input_ids.tolist() == [[5, 6]]
    assert packed.predictors.tolist() == [1, 1]


def test_a_prompt_s_completions_go_together():
    rows = split_by_packed_tokens([[1, 2, 3], [4], [1, 2, 3], [4]], [5, 9, 6, 8], max_tokens=18)
    assert rows == [[1, 3], [2, 0]]  # 1 + 8 + 7 tokens, and 3 + 5 + 4


def test_a_prompt_counts_again_in_the_next_micro_batch():
    prompts = [[1, 2, 3]] * 3
    assert split_by_packed_tokens(prompts, [4, 4, 4], max_tokens=9) == [[0, 1], [2]]
    assert split_by_packed_tokens(prompts, [4, 4, 4], max_tokens=8) == [[0], [1], [2]]


def test_a_row_beyond_the_budget_is_alone():
    assert split_by_packed_tokens([[1], [2], [3]], [5, 100, 5], max_tokens=10) == [[1], [0, 2]]


def test_nothing_makes_no_batch():
    assert split_by_packed_tokens([], [], max_tokens=10) == []


@pytest.mark.slow
@given(ROWS, st.integers(1, 60))
def test_each_row_is_in_one_batch_and_batches_keep_to_the_budget(rows, max_tokens):
    prompts, completions = columns(rows)
    batches = split_by_packed_tokens(prompts, [len(completion) for completion in completions], max_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    for batch in batches:
        packed = pack_rollouts([prompts[row] for row in batch], [completions[row] for row in batch])
        assert len(batch) == 1 or packed.input_ids.shape[1] <= max_tokens
