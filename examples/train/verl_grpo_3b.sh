#!/usr/bin/env bash
# GRPO with verl (0.9), with the settings of FINER-SQL's 3B run. Rows first, for training and for validation:
#
#   T=Qwen/Qwen2.5-Coder-3B-Instruct
#   finer-rewards prepare spider/ --to verl -o rows/ --tokenizer $T --max-prompt 2048
#   finer-rewards prepare spider/ --part dev --to verl -o dev/ --tokenizer $T --max-prompt 2048
#   DATABASES=spider/database bash examples/train/verl_grpo_3b.sh
#
# What stands after the script's name goes to verl: `trainer.n_gpus_per_node=8`, or `--cfg job`, which prints the
# whole configuration and starts nothing. MODEL takes any causal language model.
# No training has run with this script yet: verl's own code composes the configuration, loads rows and reward.
set -euo pipefail

PYTHON=${PYTHON:-python3}
MODEL=${MODEL:-Qwen/Qwen2.5-Coder-3B-Instruct}
ROWS=${ROWS:-rows/train.parquet}
DEV=${DEV:-dev/dev.parquet}
DATABASES=$(realpath "${DATABASES:-databases}")
MODE=${MODE:-}     # how results are compared; by the layout of the data, which `prepare` wrote beside the rows
REWARD=${REWARD:-} # finer() in that mode; or a reward, or a preset: with memory "finer(mode='bird_train')" and MEMORY=traces/
MEMORY=${MEMORY:-}
OUTPUT=${OUTPUT:-verl-grpo}
PROMPTS=${PROMPTS:-1} # a step; each gets 32 completions

# The overrides that name our reward, quoted for Hydra.
lines=$("$PYTHON" - "$REWARD" "$MODE" "$DATABASES" "$MEMORY" "$ROWS" "$DEV" <<'PY'
import os, sys
from finer_rewards.adapters.verl import check, overrides
from finer_rewards.datasets import mode_of_rows

reward, mode, databases, memory, *files = sys.argv[1:]
reward = reward or f"finer(mode={mode or mode_of_rows(files[0])!r}, memory=False)"
print(f"reward: {reward}", file=sys.stderr)
more = {"memory": os.path.abspath(memory)} if memory else {}
for rows in files:  # every row and database, before anything is started
    check(rows, spec=reward, root=databases, **more)
print(*overrides(reward, databases, asynchronous=True, timeout=10, **more), sep="\n")
PY
)
mapfile -t reward <<< "$lines"

exec "$PYTHON" -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    algorithm.use_kl_in_reward=false \
    data.train_files="$ROWS" \
    data.val_files="$DEV" \
    data.train_batch_size="$PROMPTS" \
    data.max_prompt_length=2048 \
    data.max_response_length=2048 \
    data.filter_overlong_prompts=true \
    data.truncation=error \
    actor_rollout_ref.model.path="$MODEL" \
    actor_rollout_ref.model.enable_gradient_checkpointing=true \
    actor_rollout_ref.model.use_remove_padding=true \
    actor_rollout_ref.actor.optim.lr=8e-6 \
    actor_rollout_ref.actor.ppo_mini_batch_size="$PROMPTS" \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1 \
    actor_rollout_ref.actor.use_kl_loss=true \
    actor_rollout_ref.actor.kl_loss_coef=0.04 \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.actor.grad_clip=1.0 \
    actor_rollout_ref.actor.fsdp_config.param_offload=true \
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=true \
    actor_rollout_ref.ref.fsdp_config.param_offload=true \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=2 \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=32 \
    actor_rollout_ref.rollout.temperature=1.0 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.4 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2 \
    reward.num_workers=4 \
    "${reward[@]}" \
    trainer.total_training_steps=4000 \
    trainer.n_gpus_per_node=1 \
    trainer.nnodes=1 \
    trainer.save_freq=200 \
    trainer.test_freq=200 \
    trainer.resume_mode=auto \
    trainer.default_local_dir="$OUTPUT" \
    trainer.project_name=finer-rewards \
    trainer.experiment_name=verl-grpo-3b \
    "trainer.logger=[console]" \
    "$@"
