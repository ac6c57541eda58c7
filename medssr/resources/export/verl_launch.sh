#!/usr/bin/env bash
# One stage of GRPO with verl 0.9 on the questions beside this file.
#   verl_launch.sh SETTINGS MODEL [verl's own settings ...]
# SETTINGS is a YAML file here, without its ending; MODEL a folder or a hub name, for stage 2 what stage 1 made. Example:
#   verl_launch.sh recommended Qwen/Qwen3-8B-Base trainer.n_gpus_per_node=8 trainer.nnodes=1
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
settings=$1 model=$2
shift 2
exec python -m verl.trainer.main_ppo --config-dir "$here" --config-name "$settings" \
    medssr.export_dir="$here" actor_rollout_ref.model.path="$model" "$@"
