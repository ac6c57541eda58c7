"""Checks what only a GPU can show, in ten minutes, with or without vLLM.

    python experiments/gpu_check/check.py [--folder gpu_check] [--only NAME ...] [--on-cpu]

Each check prints one line, and the next one runs even if it fails. `report.json` in the folder has all figures, and a
log of each command stands beside it. `--on-cpu` runs the same commands with the tiny policy on the CPU, to try the
script itself.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import medssr

RESOURCES = Path(medssr.__file__).parent / "resources"
QUESTIONS = RESOURCES / "questions" / "human.jsonl"
# The architecture of Qwen3-1.7B (its config.json), and one that a CPU trains in seconds.
QWEN3_1_7B = {
    "vocab_size": 151_936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
QWEN3_8B = QWEN3_1_7B | {
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
SMALL = QWEN3_1_7B | {
    "vocab_size": 4096,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
# A stage that takes seconds on any device.
SHORT = ["extras.progress_bar=false", "logger=csv", "grpo.num_prompts_per_step=8", "grpo.num_generations=4"]
PROMPT_TOKENS, COMPLETION_TOKENS = 64, 448
# What an update is compared with and without.
UPDATE_SETTINGS = {
    "as it is": [],
    "flex_attention": ["model.attn_implementation=flex_attention"],
    "every second layer recomputed": ["model.recompute_every=2"],
    "head in chunks of 4,096": ["grpo.head_chunk_tokens=4096"],
}


@dataclass(frozen=True)
class Machine:
    """What the checks run on.

    Attributes:
        folder: Where artefacts, logs and the report go.
        has_gpu: Whether the commands run on a GPU.
        has_vllm: Whether vLLM is installed; else transformers samples.
    """

    folder: Path
    has_gpu: bool
    has_vllm: bool

    def settings(self, name: str, *, trainer: str = "") -> list[str]:
        """Returns the settings of device, engine and folder of one check."""
        trainer = trainer or ("gpu" if self.has_gpu else "cpu")
        on_cpu = [] if self.has_gpu else ["trainer.accelerator=cpu", "trainer.precision=32-true"]
        rollout = "vllm" if self.has_vllm else "hf"
        return [f"trainer={trainer}", *on_cpu, f"rollout={rollout}", f"paths.root_dir={self.folder / name}", *SHORT]


def start(machine: Machine, name: str, command: str, *settings: str) -> subprocess.Popen[bytes]:
    """Starts a medssr command, whose output goes to the log of the check."""
    with (machine.folder / f"{name}.log").open("ab") as log:
        words = [sys.executable, "-m", f"medssr.commands.{command}", *settings]
        log.write(f"$ {' '.join(words)}\n".encode())
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def run(machine: Machine, name: str, command: str, *settings: str, limit_s: float = 180) -> float:
    """Runs a medssr command to its end, and returns its seconds.

    Raises:
        RuntimeError: When it fails, or takes too long.
    """
    begin = time.monotonic()
    process = start(machine, name, command, *settings)
    code = wait(process, limit_s)
    if code != 0:
        raise RuntimeError(f"{command} ended with {code}: see {machine.folder / name}.log")
    return time.monotonic() - begin


def wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """Returns the exit code of a process; ends its group and returns None if it takes longer."""
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also when this script is ended
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def metrics(machine: Machine, name: str) -> list[dict[str, str]]:
    """Returns the rows of metrics of the newest training of a check."""
    file = max((machine.folder / name).glob("artifacts/train/*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with file.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    """Returns the values of a metric in the rows that have it."""
    return [float(row[name]) for row in rows if row.get(name)]


def check_hardware(machine: Machine) -> dict[str, Any]:
    """Returns the versions and the devices."""
    import torch

    gpus = range(torch.cuda.device_count())
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": [f"{torch.cuda.get_device_name(n)}, {torch.cuda.mem_get_info(n)[1] / 1e9:.0f} GB" for n in gpus],
        "vllm": importlib.util.find_spec("vllm") is not None,
    }


def check_pipeline(machine: Machine) -> dict[str, Any]:
    """Runs the whole method with the tiny policy: the engine sleeps, wakes, and starts several times in one process."""
    settings = [*machine.settings("pipeline"), "grpo.num_steps=3", "synthesis.num_questions=60"]
    return {"seconds": run(machine, "pipeline", "pipeline", *settings, limit_s=240)}


def check_engine_memory(machine: Machine) -> dict[str, Any]:
    """Opens and closes the engine twice in this process: the memory of the GPU is as before."""
    import torch

    from medssr.cli.entry import composed
    from medssr.engines.types import Sampling
    from medssr.models.policy import load_policy
    from medssr.utils.instantiate import instantiate

    config = composed("pseudo_label", [f"data.path={QUESTIONS}", f"rollout={'vllm' if machine.has_vllm else 'hf'}"])
    policy = load_policy(config.model)

    def free_gb() -> float:
        return torch.cuda.mem_get_info()[0] / 1e9 if machine.has_gpu else 0.0

    free, gaps = [free_gb()], []
    for _ in range(2):
        engine = instantiate(config.rollout, "rollout", policy=policy)
        gaps.append(engine.sync_weights(policy.model))
        engine.generate([[1, 2, 3]], [[0, 1]], Sampling(1.0, 8))
        engine.close()
        free.append(free_gb())
    return {"free_gb": free, "gaps": gaps}


def check_update(machine: Machine) -> dict[str, Any]:
    """Takes updates of 14,336 tokens with adapters at the shapes of Qwen3-1.7B and 8B, with and without settings."""
    shapes = {"qwen3_1.7b": QWEN3_1_7B, "qwen3_8b": QWEN3_8B} if machine.has_gpu else {"small": SMALL}
    return {
        f"{shape}, {name}": timed_update(machine, shape, shapes[shape], settings)
        for shape in shapes
        for name, settings in UPDATE_SETTINGS.items()
        if machine.has_gpu or "flex_attention" not in name  # which has no gradients on a CPU
    }


def timed_update(machine: Machine, shape: str, sizes: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Returns speed and memory of an update; adapters, so that 8B fits one GPU."""
    import torch

    from medssr.cli.entry import composed
    from medssr.grpo.losses import DAPO
    from medssr.grpo.minibatches import Minibatch
    from medssr.grpo.objective import Objective
    from medssr.models.device import free_gpu_memory
    from medssr.models.policy import load_trainable_policy

    device = "cuda" if machine.has_gpu else "cpu"
    free_gpu_memory()  # of the update before
    folder = random_model(machine, shape, sizes)
    overrides = ["model=local", f"model.path={folder}", f"data.path={QUESTIONS}", "lora=default", "grpo=large"]
    overrides += ["model.dtype=bfloat16", "model.gradient_checkpointing=true", *machine.settings("update")]
    config = composed("train", [*overrides, *settings])
    policy = load_trainable_policy(config.model, config.lora, config.seed)
    policy.model.to(device).train()
    objective = Objective(policy.model, policy.model, DAPO(0.2, 0.28, None), 0, config.grpo)
    samples = random_samples(32 if machine.has_gpu else 4)
    minibatch = Minibatch(samples, [1.0, -1.0] * (len(samples) // 2), float(len(samples) * COMPLETION_TOKENS))
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 1e-5)

    def update() -> None:
        objective.compute_ref_and_old_logps(samples, has_old=False)
        for part in objective.micro_batches(minibatch):
            with torch.autocast(device, torch.bfloat16):
                loss, _ = objective.loss(part)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if machine.has_gpu:
            torch.cuda.synchronize()

    update()  # compiles and allocates
    if machine.has_gpu:
        torch.cuda.reset_peak_memory_stats()
    begin = time.monotonic()
    update()
    seconds = time.monotonic() - begin
    return {
        "seconds": seconds,
        "tokens_per_second": len(samples) * COMPLETION_TOKENS / seconds,
        "mfu": model_flops(config, len(samples)) / seconds / product_flops() if machine.has_gpu else None,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if machine.has_gpu else None,
        "computed_gb": computed_gb(config),
        "kernels": slowest_kernels(machine, update),
    }


def random_samples(number: int) -> list[Any]:
    """Returns completions of random tokens, eight of each prompt."""
    import torch

    from medssr.grpo.rollouts import Sample

    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(10, 4000, (count,), generator=generator).tolist()

    prompts = [tokens(PROMPT_TOKENS) for _ in range(number // 8 or 1)]
    logps = torch.full((COMPLETION_TOKENS,), -8.0)
    return [Sample("", prompts[index // 8], tokens(COMPLETION_TOKENS), logps) for index in range(number)]


def model_flops(config: Any, num_samples: int) -> float:
    """Returns the FLOPs of an update that no arrangement saves: frozen weights have no gradient; nothing is recomputed.

    One forward pass of the reference, one of the policy, and the gradient of each input.
    """
    from medssr.models.architecture import Architecture, architecture_of

    model = architecture_of(config.model.path)
    assert isinstance(model, Architecture)
    weights = model.num_layers * model.num_active_layer_weights
    completions = num_samples * COMPLETION_TOKENS
    tokens = completions + num_samples / 8 * PROMPT_TOKENS
    attended = completions * (PROMPT_TOKENS + COMPLETION_TOKENS / 2)
    attention = 4 * model.num_layers * model.num_heads * model.head_dim * attended
    return 3 * (2 * weights * tokens + 2 * model.vocab_size * model.width * completions + attention)


def product_flops() -> float:
    """Returns the published bfloat16 product speed of the GPU, and raises RuntimeError for one that is not known."""
    import torch

    from medssr.models.hardware import known_gpu, peak_flops, published

    name = torch.cuda.get_device_name()
    gpu = known_gpu(name)
    if gpu is None:
        raise RuntimeError(f"no published speed is known of {name}")
    return peak_flops(published(gpu), num_bytes=2)


def slowest_kernels(machine: Machine, update: Callable[[], None]) -> list[str]:
    """Returns what took most of an update."""
    import torch

    activity = getattr(torch.profiler.ProfilerActivity, "CUDA" if machine.has_gpu else "CPU")
    with torch.profiler.profile(activities=[activity]) as profile:
        update()
    by_time = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)
    return [f"{row.key[:80]}: {row.self_device_time_total / 1e3:.1f} ms" for row in by_time[:8]]


def computed_gb(config: Any) -> float | None:
    """Returns the memory of an update on one device by `--info`."""
    from medssr.commands.info import memory_needed

    needed = memory_needed(config)
    return None if needed is None else needed / 1e9


def check_engine_gap(machine: Machine) -> dict[str, Any]:
    """Trains adapters on the tiny policy in bfloat16 for 20 steps: trainer and engine stay as close as at the start.

    Raises:
        RuntimeError: When no step had anything to train on, so that nothing was shown.
    """
    settings = [*machine.settings("gap"), "lora=default", "model.dtype=bfloat16", "grpo.num_steps=20"]
    settings += ["optim.optimizer.lr=1e-5", f"data.path={QUESTIONS}"]
    seconds = run(machine, "gap", "train", *settings, limit_s=240)
    rows = metrics(machine, "gap")
    mismatch = column(rows, "train/logprob_mismatch_mean")
    if not mismatch:
        raise RuntimeError(f"no step had a group with signal: see {machine.folder / 'gap'}")
    return {"seconds": seconds, "sync_gap": column(rows, "train/sync_logp_gap"), "mismatch": mismatch}


def check_signals(machine: Machine) -> dict[str, Any]:
    """Sends SIGTERM in rollout, update and checkpoint: the command ends with 143 soon, and goes on."""
    found: dict[str, Any] = {}
    for moment, delay_s in (("rollout", 0.1), ("update", 0.6), ("checkpoint", 1.2)):
        name = f"signal_{moment}"
        settings = [*machine.settings(name), "grpo.num_steps=12", "callbacks.checkpoint.every_num_steps=1"]
        settings.append(f"data.path={QUESTIONS}")
        process = start(machine, name, "train", *settings)
        until = time.monotonic() + 120
        while not list((machine.folder / name).glob("artifacts/train/*/checkpoints/*.ckpt")):
            if process.poll() is not None or time.monotonic() > until:
                wait(process, 0)
                raise RuntimeError(f"no checkpoint was made: see {machine.folder / name}.log")
            time.sleep(0.05)
        time.sleep(delay_s)
        process.terminate()
        begin = time.monotonic()
        found[moment] = {"code": wait(process, 60), "seconds": time.monotonic() - begin}
    found["resumed_seconds"] = run(machine, name, "train", *settings)
    return found


def check_sharded(machine: Machine) -> dict[str, Any]:
    """Trains with FSDP2 on every device with the engine beside it, the code of eight ranks."""
    import torch

    if not machine.has_vllm:
        return {"skipped": "rollout=hf cannot sample with a sharded model; it needs vLLM"}
    devices = max(1, torch.cuda.device_count()) if machine.has_gpu else 1
    settings = [*machine.settings("sharded", trainer="fsdp2"), f"trainer.devices={devices}", f"data.path={QUESTIONS}"]
    settings += ["grpo.num_steps=3", "grpo.num_prompts_per_step=8"]
    seconds = run(machine, "sharded", "train", *settings)
    gaps = column(metrics(machine, "sharded"), "train/sync_logp_gap")
    return {"devices": devices, "seconds": seconds, "sync_gap": gaps}


def check_servers(machine: Machine) -> dict[str, Any]:
    """Labels questions with servers that start with the command, one on each GPU."""
    if not machine.has_vllm:
        return {"skipped": "it needs vLLM"}
    settings = [word for word in machine.settings("servers") if not word.startswith(("trainer", "grpo", "rollout"))]
    settings += ["rollout=vllm_node", f"data.path={QUESTIONS}", "labeling.num_votes=4"]
    return {"seconds": run(machine, "servers", "pseudo_label", *settings, limit_s=240)}


def random_model(machine: Machine, name: str, shape: dict[str, Any]) -> Path:
    """Returns the folder of a model of a shape with random weights in bfloat16, which it writes the first time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = machine.folder / f"random_{name}"
    if not folder.is_dir():
        tokenizer = AutoTokenizer.from_pretrained(RESOURCES / "policies" / "tiny_qwen3")
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        config = AutoConfig.for_model("qwen3", max_position_embeddings=32_768, **shape, **ends)
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


CHECKS: dict[str, Callable[[Machine], dict[str, Any]]] = {
    "hardware": check_hardware,
    "pipeline": check_pipeline,
    "engine_memory": check_engine_memory,
    "update": check_update,
    "engine_gap": check_engine_gap,
    "signals": check_signals,
    "sharded": check_sharded,
    "servers": check_servers,
}


def main() -> int:
    """Runs the checks, and returns 1 if one failed."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("gpu_check"), help="where everything is written")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="the checks to run")
    parser.add_argument("--on-cpu", action="store_true", help="tries the script without a GPU")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    if not torch.cuda.is_available() and not arguments.on_cpu:
        parser.error("torch finds no GPU here; --on-cpu tries the script without one")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    has_vllm = importlib.util.find_spec("vllm") is not None
    machine = Machine(arguments.folder.resolve(), has_gpu=not arguments.on_cpu, has_vllm=has_vllm)
    report: dict[str, Any] = {"machine": asdict(machine) | {"folder": str(machine.folder)}}
    for name in arguments.only:
        begin = time.monotonic()
        try:
            report[name] = CHECKS[name](machine)
        except Exception as error:  # of any kind: the report has it, and the other checks run
            report[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(f"{name} ({time.monotonic() - begin:.0f} s): {json.dumps(report[name])}", flush=True)
        (machine.folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    failed = [name for name in arguments.only if "failed" in report[name]]
    print(f"{len(arguments.only) - len(failed)} of {len(arguments.only)} checks passed; {machine.folder}/report.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
