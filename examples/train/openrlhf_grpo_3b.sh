#!/usr/bin/env bash
# GRPO with OpenRLHF (0.11), with the settings of FINER-SQL's 3B run. Rows first:
#
#   finer-rewards prepare spider/ --to openrlhf -o rows/ --tokenizer Qwen/Qwen2.5-Coder-3B-Instruct --max-prompt 2048
#   DATABASES=spider/database bash examples/train/openrlhf_grpo_3b.sh
#
# What stands after the script's name goes to OpenRLHF. MODEL takes any causal language model.
# No training has run with this script yet: OpenRLHF's own parser and checks take the arguments, and its own code
# loads rows and reward.
set -euo pipefail

PYTHON=${PYTHON:-python3}
MODEL=${MODEL:-Qwen/Qwen2.5-Coder-3B-Instruct}
ROWS=$(realpath "${ROWS:-rows/train.jsonl}")
DATABASES=$(realpath "${DATABASES:-databases}")
MODE=${MODE:-}     # how results are compared; by the layout of the data, which `prepare` wrote beside the rows
REWARD=${REWARD:-} # finer() in that mode; or a reward, or a preset: with memory "finer(mode='bird_train')" and MEMORY=traces/
BEST=${BEST:-4}                         # its largest value
MEMORY=${MEMORY:-}
OUTPUT=${OUTPUT:-openrlhf-grpo}
PROMPTS=${PROMPTS:-1} # a step; each gets 32 completions

# The file that OpenRLHF loads: two lines that name the reward. Its path must be absolute.
mkdir -p "$OUTPUT"
# It checks the rows when it is written, and again when OpenRLHF loads it.
shim=$("$PYTHON" - "$OUTPUT/reward.py" "$REWARD" "$MODE" "$DATABASES" "$BEST" "$MEMORY" "$ROWS" <<'PY'
import sys
from finer_rewards.adapters.openrlhf import write_shim
from finer_rewards.datasets import mode_of_rows

path, reward, mode, databases, best, memory, rows = sys.argv[1:]
reward = reward or f"finer(mode={mode or mode_of_rows(rows)!r}, memory=False)"
print(f"reward: {reward}", file=sys.stderr)
more = {"memory": memory} if memory else {}
options = {"root": databases, "best": float(best), "timeout": 10, "question": "question", "dataset": rows}
options["scores"] = "match"  # by value, dynamic filtering would keep groups without a right answer
print(write_shim(path, reward, **options, **more))
PY
)

exec "$PYTHON" -m openrlhf.cli.train_ppo_ray \
    --actor.model_name_or_path "$MODEL" \
    --reward.remote_url "$shim" \
    --data.prompt_dataset "$ROWS" \
    --data.input_key input \
    --data.label_key label \
    --data.apply_chat_template \
    --data.max_len 4096 \
    --rollout.max_new_tokens 2048 \
    --rollout.n_samples_per_prompt 32 \
    --rollout.batch_size "$PROMPTS" \
    --rollout.micro_batch_size 1 \
    --rollout.temperature 1.0 \
    --rollout.top_p 1.0 \
    --train.batch_size $((32 * PROMPTS)) \
    --train.micro_batch_size 1 \
    --train.num_episodes 1 \
    --train.max_epochs 1 \
    --train.colocate_all \
    --algo.advantage.estimator group_norm \
    --algo.kl.use_loss \
    --algo.kl.init_coef 0.04 \
    --algo.kl.estimator k3 \
    --actor.adam.lr 8e-6 \
    --actor.max_norm 1.0 \
    --actor.gradient_checkpointing_enable \
    --actor.num_nodes 1 \
    --actor.num_gpus_per_node 1 \
    --ref.num_nodes 1 \
    --ref.num_gpus_per_node 1 \
    --ref.offload \
    --ds.param_dtype bf16 \
    --ds.zero_stage 3 \
    --ds.adam_offload \
    --ds.enable_sleep \
    --vllm.num_engines 1 \
    --vllm.tensor_parallel_size 1 \
    --vllm.gpu_memory_utilization 0.4 \
    --vllm.enable_sleep \
    --vllm.sync_backend nccl \
    --ckpt.path "$OUTPUT/checkpoints" \
    --ckpt.output_dir "$OUTPUT" \
    --ckpt.save_steps 200 \
    --ckpt.load_enable \
    --logger.logging_steps 1 \
    "$@"
