#!/usr/bin/env bash
# Trains SmolLM2-135M by supervised GRPO, then by MedSSR's two stages, on a CPU; README.md has what came out.
#     PYTHONPATH=.venv-real experiments/real_weights/run.sh FOLDER
# About two hours on two cores. Started again, it goes on where it was.
set -euo pipefail
here=$(dirname "$0")
root=$(realpath -m "$1")
bin=${BIN:-.venv/bin}
human=medssr/resources/questions/human.jsonl
policy=("model.prompt_path=$here/prompt.txt" $'model.stop=["\n"]' model.max_new_tokens=16 model.gradient_checkpointing=false
    "paths.root_dir=$root" logger=csv extras.num_threads=2)
training=(grpo.num_prompts_per_step=16 grpo.num_generations=16 grpo.beta=0.01 optim.optimizer.lr=1.5e-5 trainer=cpu)

run() { # runs a command, and prints the path that it says it made
    "$bin/$1" "${@:2}" 2>&1 | tee /dev/stderr | sed -n 's/^made //p' | tail -1
}

evaluate() {
    "$bin/medssr-evaluate" model=local "model.path=$1" "${policy[@]}" protocol=greedy protocol.questions_per_chunk=16
}

[ -d "$root/base" ] || "$bin/python" -m experiments.real_weights.as_base_model "$root/base"

# 1. Supervised GRPO on the 320 human-annotated questions.
supervised=$(run medssr-train model=local "model.path=$root/base" "${policy[@]}" "${training[@]}" stage=supervised \
    "data.path=$human" grpo.num_steps=60)

# 2. MedSSR from there: synthetic questions, labelled by the model's own votes, then human-annotated ones.
questions=$(run medssr-synthesize "paths.root_dir=$root" synthesis.num_questions=300)
labelled=$(run medssr-pseudo-label model=local "model.path=$supervised" "${policy[@]}" labeling.num_votes=8 \
    "data.path=$questions")
stage1=$(run medssr-train model=local "model.path=$supervised" "${policy[@]}" "${training[@]}" stage=stage1_selfsup \
    "data.path=$labelled" grpo.num_steps=20)
stage2=$(run medssr-train model=local "model.path=$stage1" "${policy[@]}" "${training[@]}" stage=stage2_sup \
    "data.path=$human" grpo.num_steps=10)

for model in "$root/base" "$supervised" "$stage1" "$stage2"; do
    evaluate "$model"
done
