"""GRPO with TRL for an agent, on a CPU: a tiny model that queries a real database before it answers.

    pip install 'finer-rewards[trl]' jmespath
    python examples/trl_agent.py --steps 20

As `trl_tiny.py`, but the model has the tool `run_sql`. It first imitates rollouts in which a table is looked at
before the answer, and GRPO goes on from there. The reward pays for the answer, and a little for calls that run and for
few turns.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_chat_template
from trl_tiny import Question, build_database, print_history, questions

import finer_rewards as fr
from finer_rewards.adapters.trl import SQLEnvironment, TRLReward, sql_environment

REWARD = (
    "2 * execution_match() + 0.2 * executable() + 0.1 * each_call(executable()) + 0.1 * few_turns(most=3) "
    "+ 0.1 * well_formed(min_thought=8)"
)


def rollout(question: Question, scorer: fr.Scorer) -> list[dict[str, Any]]:
    """Return the messages of a rollout to imitate: a look at the table, then the answer."""
    table = question.sql.partition(" FROM ")[2].split()[0]
    look = f"SELECT * FROM {table} LIMIT 1"
    environment = SQLEnvironment(scorer)
    environment.reset(db="company")
    call = {"type": "function", "function": {"name": "run_sql", "arguments": {"sql": look}}}
    thought = question.thought.removeprefix("<think>").removesuffix("</think>").strip()
    return [
        {"role": "user", "content": question.text},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "run_sql", "content": environment.run_sql(look)},
        {"role": "assistant", "content": question.sql, "reasoning_content": thought},
    ]


def build_model(texts: list[str]) -> tuple[Any, Any]:
    """Return a Qwen2 of some 0.3 M parameters, and a tokenizer made for these texts, with Qwen3's chat template."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=640, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.chat_template = qwen3_chat_template
    shape = {"hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2}
    return Qwen2ForCausalLM(Qwen2Config(**shape, **heads, **tokens, max_position_embeddings=1024)), tokenizer


def render(chats: list[list[dict[str, Any]]], tokenizer: Any, scorer: fr.Scorer) -> list[str]:
    """Return the chats as the model reads and writes them, with the tool described."""
    tools = [SQLEnvironment(scorer).run_sql]
    return [tokenizer.apply_chat_template(chat, tools=tools, tokenize=False) for chat in chats]


def warm_up(model: Any, tokenizer: Any, texts: list[str], steps: int) -> None:
    """Imitate the rollouts for some steps, the prompt with them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        some = texts[step % 4 :: 4]
        batch = tokenizer(some, return_tensors="pt", padding=True)
        wanted = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=wanted
        ).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def train(folder: str, *, steps: int, warm_up_steps: int = 200, seed: int = 0) -> Any:
    """Run GRPO in `folder` and return the trainer."""
    build_database(folder)
    torch.manual_seed(seed)
    asked = list(questions())[::3]
    scorer = fr.Scorer(REWARD, fr.SQLite(folder, timeout=5))
    reward = TRLReward(scorer)
    chats = [rollout(question, scorer) for question in asked]
    plain = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), chat_template=qwen3_chat_template
    )
    model, tokenizer = build_model(render(chats, plain, scorer))
    warm_up(model, tokenizer, render(chats, tokenizer, scorer), warm_up_steps)

    rows = [
        {"prompt": [{"role": "user", "content": one.text}], "gold": one.sql, "db": "company"} for one in asked
    ]
    reward.check(rows)
    arguments = GRPOConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=16,
        num_generations=4,
        max_completion_length=192,
        learning_rate=3e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        seed=seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        environment_factory=sql_environment(scorer, max_calls=4),
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    finally:
        scorer.close()
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description="GRPO on a tiny agent over a real SQLite database.")
    parser.add_argument("--steps", type=int, default=20, help="GRPO steps (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer = train(folder, steps=options.steps, seed=options.seed)
        print_history([entry for entry in trainer.state.log_history if "reward" in entry])


if __name__ == "__main__":
    main()
