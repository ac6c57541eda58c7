"""Measures the memory of each process that loads and saves a model that is sharded over processes.

    python experiments/performance/host_memory.py [--processes 2 4]

A Qwen3 with random weights, 370 MB in float32 and stored in bfloat16, is loaded as `medssr-train trainer=fsdp2` does:
a policy in float32 and a reference in bfloat16, each sharded over processes that gloo joins; then the policy is saved.
The parts of the weights are in the memory of the machine here; on GPUs they are not. For each process it prints, as
multiples of the model in float32, the peak of its resident memory at load without torch and transformers, what stays
of it, and what saving adds at its peak.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

ARCHITECTURE = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
VOCABULARY = 16_384
MIB = 2**20


def write_model(folder: Path) -> int:
    """Writes the checkpoint in bfloat16, and returns the bytes of its weights in float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from medssr.models.from_scratch import train_tokenizer

    torch.manual_seed(0)
    config = AutoConfig.for_model("qwen3", vocab_size=VOCABULARY, **ARCHITECTURE)
    model = AutoModelForCausalLM.from_config(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    train_tokenizer(["What is measured? Memory."], vocab_size=320, family="qwen3").save_pretrained(folder)
    return 4 * sum(weight.numel() for weight in model.parameters())


def memory(name: str) -> float:
    """Returns a memory field of the process in MiB: VmRSS is current, VmHWM the peak."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def reset_peak() -> float:
    """Starts a new measurement of the peak, and returns the current memory in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def measure(rank: int, number: int, folder: Path) -> None:
    """Loads and saves as one of several processes; prints the MiB added at load, kept, and added at save."""
    import hydra
    from omegaconf import OmegaConf

    from medssr.config import register
    from medssr.config.catalog import CONF_DIR
    from medssr.models.policy import load_reference, load_trainable_policy
    from medssr.models.sharding import fill, shard

    register()
    with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        overrides = ["model=real", f"model.path={folder / 'stored'}", "paths.root_dir=/nowhere"]
        config = OmegaConf.to_object(hydra.compose("evaluate", overrides)).model
    load_trainable_policy(config, None, 0, is_sharded=True)  # imports what the first load of a process needs
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'joined'}", rank=rank, world_size=number
    )
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (number,))
    before = reset_peak()
    policy = load_trainable_policy(config, None, 0, is_sharded=True)
    models = [policy.model, load_reference(config, is_empty=True)]
    for model in models:
        shard(model, mesh, torch.bfloat16)
    assert policy.load_whole is not None
    fill(models, policy.load_whole, torch.device("cpu"))
    at_load = memory("VmHWM") - before
    torch.distributed.barrier()
    loaded = reset_peak()
    policy.save(folder / "saved")
    print(at_load, loaded - before, memory("VmHWM") - loaded)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rank", type=int, help="measure in this process")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.rank is not None:
        measure(arguments.rank, arguments.processes[0], arguments.folder)
        return
    for number in arguments.processes:
        with TemporaryDirectory() as folder:
            size = write_model(Path(folder) / "stored") / MIB
            command = [sys.executable, __file__, "--processes", str(number), "--folder", folder]
            started = [
                subprocess.Popen(
                    [*command, "--rank", str(rank)],
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
                )
                for rank in range(number)
            ]
            rows = [[float(word) for word in process.communicate()[0].split()] for process in started]
        parts = 1.5 / number
        print(f"{number} processes, {size:.0f} MiB in float32, parts {parts:.2f} of that for each process")
        for rank, row in enumerate(rows):
            at_load, stays, at_save = (value / size for value in row)
            print(f"  process {rank}: {at_load:.2f} at load, {stays:.2f} stay, {at_save:.2f} more at save")
        totals = [sum(column) / size for column in zip(*rows, strict=True)]
        print(f"  all:       {totals[0]:.2f} at load, {totals[1]:.2f} stay, {totals[2]:.2f} more at save")


if __name__ == "__main__":
    main()
