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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_updates import QUESTIONS, Machine, check_update


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
