"""Models with small adapters."""

from __future__ import annotations

import torch

from medssr.config import LoRAConfig

CONFIG = LoRAConfig(rank=4, alpha=8, target_modules=None)
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def shake(model, size=0.05):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(size * torch.randn(weight.shape, generator=generator))


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def adapter_weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if "lora_" in name}
