import torch
from transformers import DynamicCache

from medssr.engines.decoding import PreallocatedCache, SampledTokens, expand_cache


def states(number, rows=2, length=3):
    return torch.randn(rows, 2, length, 4, generator=torch.Generator().manual_seed(number))


def filled_cache():
    cache = DynamicCache()
    for layer in range(2):
        cache.update(states(layer), states(10 + layer), layer)
    return cache


def test_a_preallocated_cache_agrees_with_the_plain_one():
    plain, preallocated = filled_cache(), filled_cache()
    plain.batch_repeat_interleave(3)
    expand_cache(preallocated, 3)
    keep = torch.tensor([0, 2, 3])
    for step in range(140):
        if step == 2:
            plain.batch_select_indices(keep)
            preallocated.batch_select_indices(keep)
        rows = 6 if step < 2 else 3
        for layer in range(2):
            new = states(20 + step, rows, 1), states(30 + layer, rows, 1)
            for actual, expected in zip(preallocated.update(*new, layer), plain.update(*new, layer), strict=True):
                assert torch.equal(actual, expected)
        assert preallocated.get_seq_length() == plain.get_seq_length() == 4 + step
        assert preallocated.get_mask_sizes(1, 0) == plain.get_mask_sizes(1, 0)


def test_a_new_token_does_not_move_the_tokens_before():
    layer = PreallocatedCache(states(0), states(1), num_copies=1)
    address = layer.keys.data_ptr()
    layer.update(states(2, length=1), states(3, length=1))
    assert layer.keys.data_ptr() == address


def test_other_kinds_of_layers_repeat_their_rows_themselves():
    from transformers.cache_utils import DynamicSlidingWindowLayer

    cache = DynamicCache()
    cache.layers = [DynamicSlidingWindowLayer(sliding_window=8)]
    cache.update(states(0), states(1), 0)
    expand_cache(cache, 2)
    assert type(cache.layers[0]) is DynamicSlidingWindowLayer
    assert cache.layers[0].keys.shape == (4, 2, 3, 4)


def test_tokens_are_those_up_to_the_end_of_each_row():
    sampled = SampledTokens(3, 3, torch.device("cpu"))
    rows = torch.arange(3)
    sampled.add(rows, 0, torch.tensor([5, 6, 7]), torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([True, True, True]))
    sampled.add(rows, 1, torch.tensor([8, 9, 1]), torch.tensor([-4.0, -5.0, -6.0]), torch.tensor([True, False, True]))
    some_rows = torch.tensor([0, 2])
    sampled.add(some_rows, 2, torch.tensor([2, 3]), torch.tensor([-7.0, -8.0]), torch.tensor([True, False]))
    assert sampled.read() == [([5, 8, 2], [-1.0, -4.0, -7.0]), ([6], [-2.0]), ([7, 1], [-3.0, -6.0])]
