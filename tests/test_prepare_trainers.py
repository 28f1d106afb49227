"""Rows for trainers: loaded by each trainer's own data set code, from the folders of real benchmarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.adapters.verl import compute_score
from finer_rewards.cli import main
from finer_rewards.datasets import writing
from finer_rewards.datasets.prompts import PROMPTS

THOUGHT = (
    "The singers are in the table singer, one row each. The question asks how many there are, so the rows are "
    "counted, without any condition, join or grouping."
)


def real(shared_data: Path, name: str) -> list[str]:
    if name == "spider":
        return [
            str(shared_data / "questions/spider_dev.json"),
            "--db",
            str(shared_data / "spider_dev/database"),
        ]
    return [str(shared_data / "questions/bird_dev.json"), "--db", str(shared_data / "bird/databases")]


def tokenizer_for(texts: Sequence[str]) -> Any:
    """A tokenizer of whole words, with a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.split()})
    backend = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(["<pad>", *words])}, unk_token="<pad>")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<pad>")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return tokenizer


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["spider", "bird"])
@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
@pytest.mark.parametrize("trainer", writing.TRAINERS)
def test_each_trainer_loads_the_rows_with_its_own_code(
    shared_data: Path, tmp_path: Path, name: str, file_format: str, trainer: str
) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip(trainer)
    out = tmp_path / "rows"
    options = ["--to", trainer, "--format", file_format, "--dev-share", "0.2"] if name == "spider" else []
    options = options or ["--to", trainer, "--format", file_format]
    assert main(["prepare", *real(shared_data, name), "-o", str(out), *options]) == 0
    report = json.loads((out / "report.json").read_text())
    counts = report["counts"]
    assert counts["in"] == counts["train"] + counts.get("dev", 0) + counts["left_out"]
    assert counts["in"] == len(json.loads(Path(real(shared_data, name)[0]).read_text()))
    assert counts["left_out"] == len(report["left_out"]) < 0.2 * counts["in"]
    file = str(out / f"train.{file_format}")
    loaded = datasets.load_dataset(
        "json" if file_format == "jsonl" else "parquet",
        data_files=file,
        cache_dir=str(tmp_path),
        split="train",
    )
    assert len(loaded) == counts["train"]
    check = {"trl": loads_in_trl, "verl": loads_in_verl, "openrlhf": loads_in_openrlhf}[trainer]
    check(loaded, file, real(shared_data, name)[2], tmp_path)


def loads_in_trl(loaded: Any, file: str, databases: str, folder: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = tokenizer_for([message["content"] for row in loaded for message in row["prompt"]])
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=1, vocab_size=len(tokenizer)))
    settings = {"use_cpu": True, "bf16": False, "report_to": [], "output_dir": str(folder)}
    with fr.Scorer(fr.preset("finer", memory=False), fr.SQLite(databases)) as scorer:
        reward = TRLReward(scorer, gold="gold_sql", db="db_id", question="question")
        reward.check(loaded)
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(per_device_train_batch_size=4, num_generations=2, **settings),
            train_dataset=loaded,
            processing_class=tokenizer,
        )
        batch = next(iter(trainer.get_train_dataloader()))
        columns = {key: [row[key] for row in batch] for key in batch[0] if key != "prompt"}
        completions = [
            [{"role": "assistant", "content": PROMPTS["finer"].completion(THOUGHT, row["gold_sql"])}]
            for row in batch
        ]
        assert reward([row["prompt"] for row in batch], completions, **columns) == [4.0] * len(batch)


def loads_in_verl(loaded: Any, file: str, databases: str, folder: Path) -> None:
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    tokenizer = tokenizer_for([message["content"] for row in loaded for message in row["prompt"]])
    config = OmegaConf.create(
        {"max_prompt_length": 5000, "filter_overlong_prompts_workers": 1, "cache_dir": str(folder / "cache")}
    )
    dataset = RLHFDataset(file, tokenizer, config)
    assert len(dataset) == len(loaded)
    batch = collate_fn([dataset[place] for place in range(4)])
    for source, truth, extra in zip(
        batch["data_source"], batch["reward_model"], batch["extra_info"], strict=True
    ):
        text = PROMPTS["finer"].completion(THOUGHT, truth["ground_truth"])
        found = compute_score(
            source, text, truth["ground_truth"], extra, spec="finer(memory=False)", root=databases
        )
        assert (found["score"], found["acc"], found["unscorable"]) == (4.0, 1.0, 0.0)
    assert list(batch["index"]) == [0, 1, 2, 3]


def loads_in_openrlhf(loaded: Any, file: str, databases: str, folder: Path) -> None:
    from types import SimpleNamespace

    from openrlhf.datasets.prompts_dataset import PromptDataset
    from openrlhf.datasets.utils import blending_datasets

    data = SimpleNamespace(input_key="input", label_key="label", apply_chat_template=True)
    strategy = SimpleNamespace(
        args=SimpleNamespace(data=data), is_rank_0=lambda: False, print=lambda *_: None
    )
    tokenizer = tokenizer_for([message["content"] for row in loaded for message in row["input"]])
    dataset = PromptDataset(blending_datasets(file, strategy=strategy), tokenizer, strategy)
    assert len(dataset) == len(loaded)
    sources, prompts, labels, _ = dataset.collate_fn([dataset[place] for place in range(4)])
    assert set(sources) <= {"spider", "bird"}
    with fr.Scorer(fr.preset("finer", memory=False), fr.SQLite(databases)) as scorer:
        reward = openrlhf_reward(scorer, best=4, question="question")
        for prompt, label in zip(prompts, labels, strict=True):
            text = PROMPTS["finer"].completion(THOUGHT, json.loads(label)["gold"])
            reply = reward([f"{prompt}{text}<|im_end|>"], [prompt], [label])
            assert (reply["rewards"], reply["scores"]) == (4.0, 1.0)
