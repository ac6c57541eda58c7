#!/usr/bin/env bash
# Runs medssr-pipeline for SmolLM2-135M from questions to report in one command: two trainers, two vLLM servers. README.md has
# what came out.
#     PYTHONPATH=.venv-real:.venv-vllm experiments/node_runs/pipeline.sh FOLDER [OVERRIDE ...]
# 16 minutes of processor time, and 10 GB of memory. Started again, it goes on where it was.
set -euo pipefail
here=$(dirname "$0")
root=$(realpath -m "$1")
bin=${BIN:-.venv/bin}
mkdir -p "$root"
[ -d "$root/base" ] || PYTHONPATH=$PWD:${PYTHONPATH:-} "$bin/python" -m experiments.real_weights.as_base_model "$root/base"
[ -f "$root/benchmark.jsonl" ] || awk 'NR % 40 == 0' medssr/resources/questions/evaluation.jsonl > "$root/benchmark.jsonl"

GLOO_SOCKET_IFNAME=lo OMP_NUM_THREADS=1 exec "$bin/medssr-pipeline" debug=quick \
    trainer=fsdp2 trainer.accelerator=cpu trainer.precision=32-true trainer.devices=2 \
    rollout=vllm_node rollout.num_servers=2 rollout.cpu_kv_cache_gib=0.5 rollout.timeout_s=7200 \
    model=local "model.path=$root/base" "model.prompt_path=$PWD/$here/../real_weights/prompt.txt" $'model.stop=["\n"]' \
    model.max_new_tokens=16 model.gradient_checkpointing=false grpo.num_steps=2 optim.optimizer.lr=1.5e-5 \
    synthesis.num_questions=16 "benchmark.path=$root/benchmark.jsonl" \
    "paths.root_dir=$root" logger=csv extras.num_threads=1 extras.progress_bar=false "${@:2}"
