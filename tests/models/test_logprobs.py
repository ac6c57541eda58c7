import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from medssr.errors import InputError
from medssr.models.attention import adopt_attention
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import (
    chunked_logps,
    completion_logits,
    completion_logps,
    completion_logps_and_entropies,
    completion_statistics,
    packed_statistics,
)
from medssr.models.packing import pack_rollouts
from medssr.models.token_scores import token_entropies, token_logps, token_mean_logps

PROMPTS = [[5, 6, 7, 8], [9], [10, 11]]
COMPLETIONS = [[20, 21], [22, 23, 24, 25], [26, 27, 28]]


def random_logits(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_logps_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(4.0), 0.0]]])  # chances 1/4, 3/4 and 4/5, 1/5
    actual = token_logps(logits, torch.tensor([[1, 1]]))
    assert actual.exp().tolist() == [pytest.approx([0.75, 0.2])]


def test_logps_are_those_of_log_softmax():
    logits = random_logits(3, 4, 11)
    ids = torch.randint(0, 11, (3, 4), generator=torch.Generator().manual_seed(1))
    expected = torch.log_softmax(logits, dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(token_logps(logits, ids), expected, rtol=1e-12, atol=1e-12)


def test_logps_stay_finite_for_huge_logits():
    actual = token_logps(torch.tensor([[[1e4, -1e4, 0.0]]]), torch.tensor([[0]]))
    assert actual.item() == 0


def test_entropies_by_hand():
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [50.0, -50.0, -50.0, -50.0], [0.0, 0.0, -200.0, -200.0]]])
    assert token_entropies(logits).tolist() == [pytest.approx([math.log(4), 0.0, math.log(2)], abs=1e-6)]


def test_entropies_are_those_of_torch():
    logits = random_logits(2, 3, 7)
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(token_entropies(logits), expected)


def test_the_gradient_of_entropies_is_that_of_their_formula():
    logits = random_logits(2, 3, 7).double().requires_grad_()
    factors = torch.rand(2, 3, dtype=torch.float64)
    (actual,) = torch.autograd.grad((token_entropies(logits) * factors).sum(), logits)
    by_formula = torch.distributions.Categorical(logits=logits).entropy()
    (expected,) = torch.autograd.grad((by_formula * factors).sum(), logits)
    torch.testing.assert_close(actual, expected)


def test_mean_logps_by_hand_and_as_those_of_log_softmax():
    by_hand = torch.tensor([[[0.0, math.log(3.0)]]])  # chances 1/4 and 3/4
    assert token_mean_logps(by_hand).item() == pytest.approx((math.log(1 / 4) + math.log(3 / 4)) / 2)
    logits = random_logits(2, 3, 7)
    torch.testing.assert_close(token_mean_logps(logits), logits.log_softmax(dim=-1).mean(dim=-1))


@pytest.mark.parametrize("chunk_tokens", [None, 2])
def test_statistics_are_those_of_the_whole_logits_however_they_are_computed(policy, chunk_tokens):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    is_token = batch.completion_mask.bool()
    assert adopt_attention(policy.model)
    with torch.no_grad():
        logits = completion_logits(policy.model, batch, 0.9)
        expected = token_logps(logits, batch.completion_ids), token_entropies(logits), token_mean_logps(logits)
        found = completion_statistics(policy.model, batch, 0.9, chunk_tokens)
        packed = packed_statistics(policy.model, pack_rollouts(PROMPTS, COMPLETIONS), 0.9, chunk_tokens)
    for values in (found, packed):
        for value, wanted in zip(values, expected, strict=True):
            torch.testing.assert_close(value[is_token], wanted[is_token], rtol=1e-4, atol=1e-5)


def test_completion_logits_are_those_of_each_row_alone(any_policy):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    with torch.no_grad():
        logits = completion_logits(any_policy.model, batch, temperature=1.0)
        for row, (prompt, completion) in enumerate(zip(PROMPTS, COMPLETIONS, strict=True)):
            alone = any_policy.model(torch.tensor([prompt + completion])).logits[0]
            # The logits of a token are at the position before it.
            expected = alone[len(prompt) - 1 : -1]
            torch.testing.assert_close(logits[row, : len(completion)], expected, rtol=1e-4, atol=1e-4)


def test_completion_logits_are_divided_by_the_temperature(policy):
    batch = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0)
    with torch.no_grad():
        cold, plain = (completion_logits(policy.model, batch, temperature) for temperature in (0.5, 1.0))
    torch.testing.assert_close(cold, 2 * plain)


def test_completion_logits_are_float32_whatever_the_weights_are(policy):
    logits = completion_logits(policy.model.bfloat16(), pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0), 1.0)
    assert logits.dtype is torch.float32


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("chunk_tokens", [1, 3, 7, 100])
def test_the_chunked_head_equals_the_plain_one_forwards_and_backwards(chunk_tokens, has_bias):
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    hidden, weight, bias = leaf(7, 5), leaf(11, 5), leaf(11) if has_bias else None
    ids, factors = torch.randint(0, 11, (7,), generator=generator), leaf(7).detach()
    leaves = [value for value in (hidden, weight, bias) if value is not None]

    logits = torch.nn.functional.linear(hidden, weight, bias) / 0.7
    plain, entropies = token_logps(logits, ids), token_entropies(logits)
    actual, actual_entropies = chunked_logps(hidden, weight, bias, ids, 0.7, chunk_tokens)

    torch.testing.assert_close(actual, plain)
    torch.testing.assert_close(actual_entropies, entropies)
    sums = [
        lambda logps, entropies: (logps * factors).sum(),
        lambda logps, entropies: (entropies * factors).sum(),
        lambda logps, entropies: ((logps - 0.3 * entropies) * factors).sum(),
    ]
    for total in sums:
        expected = torch.autograd.grad(total(plain, entropies), leaves, retain_graph=True)
        gradients = torch.autograd.grad(total(actual, actual_entropies), leaves, retain_graph=True)
        for gradient, expected_gradient in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient, expected_gradient)


def test_a_frozen_head_needs_no_gradient():
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(6, 4)
    chunked_logps(hidden, weight, None, torch.tensor([0, 1, 2]), 1.0, 2)[0].sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_no_token_makes_no_log_prob():
    empty = torch.zeros(0, dtype=torch.long)
    assert [len(part) for part in chunked_logps(torch.zeros(0, 4), torch.zeros(6, 4), None, empty, 1.0, 2)] == [0, 0]


def test_the_logits_never_exist_whole():
    """Records the size of the largest tensor that any operation creates, forward or backward."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numel = max(self.numel, result.numel())
            return result

    hidden, weight = torch.randn(64, 4, requires_grad=True), torch.randn(500, 4, requires_grad=True)
    with Largest() as largest:
        chunked_logps(hidden, weight, None, torch.arange(64), 1.0, 8)[0].sum().backward()
    assert largest.numel == 8 * 500


@pytest.mark.parametrize("chunk_tokens", [1, 4, 1000])
def test_a_model_in_chunks_has_the_log_probs_entropies_and_gradients_of_the_plain_one(any_policy, chunk_tokens):
    batch, model = pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0), any_policy.model

    def run(chunk):
        model.zero_grad()
        logps, entropies = completion_logps_and_entropies(model, batch, 0.9, chunk)
        (logps * batch.completion_mask).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        return logps.detach() * batch.completion_mask, entropies * batch.completion_mask, gradient

    (plain, plain_entropies, expected), (actual, entropies, gradient) = run(None), run(chunk_tokens)
    torch.testing.assert_close(actual, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropies, plain_entropies, rtol=1e-5, atol=1e-5)
    assert (gradient - expected).norm() / expected.norm() < 1e-6
    assert torch.equal(completion_logps(model, batch, 0.9, chunk_tokens).detach() * batch.completion_mask, actual)


def test_a_model_that_changes_its_logits_is_refused(policy):
    policy.model.config.final_logit_softcapping = 30.0
    with pytest.raises(InputError, match="final_logit_softcapping"):
        completion_logps(policy.model, pad_rollouts(PROMPTS, COMPLETIONS, pad_id=0), 1.0, 4)


def test_the_chunked_head_computes_in_the_format_of_autocast():
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(shape, generator=generator).requires_grad_() for shape in ((6, 16), (50, 16)))
    ids = torch.arange(6)

    def run(get_logps):
        hidden.grad = weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logps = get_logps()
        assert logps.dtype is torch.float32
        logps.sum().backward()
        return logps.detach(), hidden.grad, weight.grad

    actual = run(lambda: chunked_logps(hidden, weight, None, ids, 1.0, 4)[0])
    expected = run(lambda: token_logps(torch.nn.functional.linear(hidden, weight).float()[None], ids[None])[0])
    for value, expected_value in zip(actual, expected, strict=True):
        torch.testing.assert_close(value, expected_value, rtol=2e-2, atol=2e-2)
    assert torch.equal(actual[0], expected[0])


@pytest.mark.parametrize("has_bias", [False, True])
def test_a_gpu_keeps_the_logits_of_bfloat16_in_float32(has_bias):
    """By shapes and types alone, which need no GPU."""
    with FakeTensorMode():
        hidden, weight = (torch.empty(size, 8, dtype=torch.bfloat16, device="cuda") for size in (5, 16))
        bias = torch.empty(16, dtype=torch.bfloat16, device="cuda") if has_bias else None
        logps, entropies = chunked_logps(hidden, weight, bias, torch.zeros(5, dtype=torch.int64, device="cuda"), 0.7, 2)
    assert (logps.dtype, entropies.dtype, logps.shape) == (torch.float32, torch.float32, (5,))


@pytest.mark.gpu
def test_the_logits_of_a_gpu_are_not_rounded_to_bfloat16():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(size, 512, generator=generator).bfloat16() for size in (64, 1000))
    ids = torch.arange(64)
    exact = token_logps((hidden.double() @ weight.double().T).unsqueeze(0), ids.unsqueeze(0))[0]
    logps, _ = chunked_logps(hidden.cuda(), weight.cuda(), None, ids.cuda(), 1.0, 16)
    torch.testing.assert_close(logps.cpu().double(), exact, rtol=0, atol=1e-3)
