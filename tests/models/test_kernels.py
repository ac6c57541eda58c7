"""Layers that torch compiles, against those that it does not; what Liger is refused for."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from support.helpers import random_policy
from torch._dynamo.utils import counters
from torch.distributed.device_mesh import init_device_mesh

from medssr.cli.entry import composed
from medssr.config import LoRAConfig
from medssr.errors import InputError
from medssr.models import kernels
from medssr.models.attention import adopt_attention
from medssr.models.kernels import use_kernels
from medssr.models.logprobs import packed_logps
from medssr.models.lora import add_adapters
from medssr.models.packing import pack_rollouts
from medssr.models.sharding import call_as_forward, full_weight, shard

pytestmark = pytest.mark.slow


def model_config(setting):
    return composed("train", [setting, "data.path=questions.jsonl"]).model


def with_adapters(model):
    add_adapters(model, LoRAConfig(rank=2, alpha=4, target_modules=None), seed=1)
    model.gradient_checkpointing_enable({"use_reentrant": False})


def with_shards(model):
    shard(model, init_device_mesh("cpu", (1,)), torch.float32)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def logps_and_gradient(model, row):
    """Log-probs of a packed row of some prompts with three completions each, and the gradient of their sum."""
    generator = torch.Generator().manual_seed(row)

    def tokens(most):
        length = int(torch.randint(2, most, (1,), generator=generator))
        return torch.randint(10, 300, (length,), generator=generator).tolist()

    prompts = [prompt for prompt in [tokens(12) for _ in range(2 + row % 3)] for _ in range(3)]
    packed = pack_rollouts(prompts, [tokens(40) for _ in prompts])
    model.zero_grad()
    logps, _ = call_as_forward(model, lambda model: packed_logps(model, packed, 1.0, 64, has_entropies=False))
    logps.sum().backward()
    return logps.detach(), torch.cat(
        [full_weight(weight.grad).flatten() for weight in model.parameters() if weight.requires_grad]
    )


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("prepare", [with_adapters, with_shards])
def test_compiled_layers_have_the_same_log_probs_gradients_and_names(prepare):
    """Rows of new lengths are not compiled anew, once two differed from the first."""
    model = random_policy("qwen3").model.train()
    compiled = deepcopy(model)
    use_kernels(compiled, model_config("model.compile_layers=true"))
    for each in (model, compiled):
        prepare(each)
        assert adopt_attention(each)
    num_graphs = []
    for row in range(4):
        logps, gradient = logps_and_gradient(model, row)
        found_logps, found_gradient = logps_and_gradient(compiled, row)
        torch.testing.assert_close(found_logps, logps, rtol=1e-5, atol=1e-5)
        assert ((found_gradient - gradient).norm() / gradient.norm()).item() < 1e-5
        num_graphs.append(counters["stats"]["unique_graphs"])
    assert num_graphs[0] > 0
    assert num_graphs[1] == num_graphs[-1]
    assert list(compiled.state_dict()) == list(model.state_dict())


def test_without_its_package_liger_is_refused(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    config = replace(model_config("model.compile_layers=false"), liger_kernels=True)
    with pytest.raises(InputError, match=r'model\.liger_kernels.*pip install "medssr\[liger\]"'):
        use_kernels(random_policy("qwen3").model, config)
