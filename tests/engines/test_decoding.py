import torch
from transformers import DynamicCache

from medssr.engines.decoding import DrawnTokens, RoomyLayer, make_room


def states(number, rows=2, length=3):
    return torch.randn(rows, 2, length, 4, generator=torch.Generator().manual_seed(number))


def filled_cache():
    cache = DynamicCache()
    for layer in range(2):
        cache.update(states(layer), states(10 + layer), layer)
    return cache


def test_a_cache_with_room_holds_what_one_without_holds():
    plain, roomy = filled_cache(), filled_cache()
    plain.batch_repeat_interleave(3)
    make_room(roomy, 3)
    keep = torch.tensor([0, 2, 3])
    for step in range(140):
        if step == 2:
            plain.batch_select_indices(keep)
            roomy.batch_select_indices(keep)
        rows = 6 if step < 2 else 3
        for layer in range(2):
            new = states(20 + step, rows, 1), states(30 + layer, rows, 1)
            for found, expected in zip(roomy.update(*new, layer), plain.update(*new, layer), strict=True):
                assert torch.equal(found, expected)
        assert roomy.get_seq_length() == plain.get_seq_length() == 4 + step
        assert roomy.get_mask_sizes(1, 0) == plain.get_mask_sizes(1, 0)


def test_a_new_token_moves_none_of_those_before():
    layer = RoomyLayer(states(0), states(1), num_copies=1)
    place = layer.keys.data_ptr()
    layer.update(states(2, length=1), states(3, length=1))
    assert layer.keys.data_ptr() == place


def test_layers_of_other_kinds_are_repeated_in_their_own_way():
    from transformers.cache_utils import DynamicSlidingWindowLayer

    cache = DynamicCache()
    cache.layers = [DynamicSlidingWindowLayer(sliding_window=8)]
    cache.update(states(0), states(1), 0)
    make_room(cache, 2)
    assert type(cache.layers[0]) is DynamicSlidingWindowLayer
    assert cache.layers[0].keys.shape == (4, 2, 3, 4)


def test_tokens_are_those_up_to_the_end_of_each_row():
    drawn = DrawnTokens(3, 3, torch.device("cpu"))
    every = torch.arange(3)
    drawn.add(every, 0, torch.tensor([5, 6, 7]), torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([True, True, True]))
    drawn.add(every, 1, torch.tensor([8, 9, 1]), torch.tensor([-4.0, -5.0, -6.0]), torch.tensor([True, False, True]))
    two = torch.tensor([0, 2])
    drawn.add(two, 2, torch.tensor([2, 3]), torch.tensor([-7.0, -8.0]), torch.tensor([True, False]))
    assert drawn.read() == [([5, 8, 2], [-1.0, -4.0, -7.0]), ([6], [-2.0]), ([7, 1], [-3.0, -6.0])]
