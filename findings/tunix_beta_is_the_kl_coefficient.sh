#!/usr/bin/env bash
# google-tunix 0.1.7. A reward function whose parameter is called as a field of the trainer's configuration gets that field's value in
# place of its own default, in silence: an F-beta score with beta=2 is computed with the weight of the KL penalty, 0.04, and
# so rewards precision alone. So it goes with epsilon, num_iterations and the others. Another name keeps its default.
# Guess: a default of the function's own holds unless a dataset column has its name. Seen: 0.5004 instead of 0.8333.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check google-tunix==0.1.7
"$folder/venv/bin/python" -W ignore - <<"PY"
from tunix.rl.grpo.grpo_learner import GRPOConfig
from tunix.rl.reward_manager import SequenceRewardManager

PRECISION, RECALL = 0.5, 1.0  # of the tables that a query names


def f_beta(prompts, completions, *, beta=2.0, **columns):
    score = (1 + beta**2) * PRECISION * RECALL / (beta**2 * PRECISION + RECALL)
    return [score for _ in completions]


def f_weighted(prompts, completions, *, weight=2.0, **columns):
    return f_beta(prompts, completions, beta=weight)


config = GRPOConfig(num_generations=2)
batch = {"prompts": ["?"] * 2, "completions": ["SELECT 1"] * 2, "mode": "train"}
assert config.beta == 0.04
found = [float(SequenceRewardManager(one, config)(**batch)["rewards"][0]) for one in (f_beta, f_weighted)]
assert [round(one, 4) for one in found] == [0.5004, 0.8333], found
print("google-tunix 0.1.7: beta of a reward function is the trainer's KL coefficient:", found)
PY
