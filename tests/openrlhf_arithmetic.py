"""OpenRLHF's own code, from replies of a reward function to advantages: a program for `test_trainers_arithmetic`."""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import json
import sys
import types
from typing import Any
from unittest.mock import MagicMock

import torch
import transformers.modeling_utils  # noqa: F401 - before the stand-ins: it looks for these packages


class Aside(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what needs a GPU to be installed, and computes none of this."""

    names = ("deepspeed", "flash_attn", "vllm", "openrlhf.trainer.ray")

    def find_spec(self, name, path=None, target=None):
        known = any(name == one or name.startswith(one + ".") for one in self.names)
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec):
        return MagicMock(__name__=spec.name, __path__=[], __spec__=spec)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Aside())
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker  # noqa: E402
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator  # noqa: E402
from openrlhf.utils.agent import SingleTurnAgentExecutor  # noqa: E402


class Tokenizer:
    pad_token_id = 0

    def __call__(self, text, **_):
        return {"input_ids": torch.tensor([[ord(one) for one in text]])}

    def decode(self, tokens, **_):
        return "".join(map(chr, tokens))


class Engine:
    async def generate(self, prompt_token_ids, params, multi_modal_data=None):
        one = types.SimpleNamespace(token_ids=[65], text="A", finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[one])


def advantages(replies: list[Any], estimator: str, size: int | None = None) -> dict[str, Any]:
    """Return the advantage of each response of one token, and what is logged; a reply that is text is raised."""
    said = iter(replies)

    def reward_func(queries, prompts, labels):
        reply = next(said)
        if isinstance(reply, str):
            raise ValueError(reply)
        return reply

    executor = SingleTurnAgentExecutor()
    executor.reward_endpoints, executor.reward_func = ["it.py"], reward_func
    sampling = types.SimpleNamespace(max_tokens=8, logprobs=None)

    async def sampled():
        return [await executor.execute("?", "", sampling, 64, Tokenizer(), Engine()) for _ in replies]

    outputs = asyncio.run(sampled())
    args = types.SimpleNamespace
    size = size or len(replies)
    known = args(
        algo=args(advantage=args(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)),
        rollout=args(n_samples_per_prompt=size, micro_batch_size=len(replies), max_new_tokens=8),
        reward=args(clip_range=None, overlong_buffer_len=None, stop_properly_penalty_coef=None),
        train=args(dynamic_batch_enable=False),
        ds=args(ring_attn_size=1, tensor_parallel_size=1),
    )
    maker = RemoteExperienceMaker(
        None,
        None,
        None,
        None,
        types.SimpleNamespace(value=0.0),
        types.SimpleNamespace(args=known),
        Tokenizer(),
    )
    single = [SamplesGenerator._process_response_into_experience(None, one, max_len=64) for one in outputs]
    (merged,) = maker.split_rollout_samples(single)
    if merged.rewards is None:
        maker.make_experience([merged])
    merged.kl = torch.zeros_like(merged.action_mask, dtype=torch.float32)
    info = {name: value.tolist() for name, value in merged.info.items()}
    (done,) = maker.compute_advantages_and_returns([merged])
    return {"advantages": done.advantages[:, 0].tolist(), "info": info}


def asked(case: list[Any]) -> dict[str, Any]:
    try:
        return advantages(*case)
    except Exception as problem:  # noqa: BLE001 - whatever ends the run
        return {"error": f"{type(problem).__name__}: {problem}"}


print("RESULT " + json.dumps(list(map(asked, json.loads(sys.argv[1])))))
