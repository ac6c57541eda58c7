"""An architecture whose weights, outputs and products can be counted by hand."""

from medssr.models.architecture import Architecture

SMALL = Architecture(
    vocab_size=100,
    width=10,
    num_layers=2,
    num_heads=2,
    num_kv_heads=2,
    head_dim=5,
    mlp_width=20,
    num_experts=0,
    num_active_experts=0,
    is_tied=False,
    has_head_norms=False,
)
