"""The trainers' own clients ask the server: OpenRLHF's and slime's."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.adapters._training_rows import for_float32
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.engines.sqlite import SQLite

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SLOW, SPEC, STATEMENTS, serving

OPENRLHF = """
import asyncio, json, sys, types
import torch
from openrlhf.utils.agent import SingleTurnAgentExecutor

urls, rows, prompt = sys.argv[1].split(","), json.loads(sys.argv[2]), sys.argv[3]

class Tokenizer:
    def __call__(self, text, **_):
        return {"input_ids": torch.tensor([[ord(one) for one in text]])}

    def decode(self, tokens, **_):
        return "".join(map(chr, tokens))

class Engine:
    def __init__(self, text):
        self.text = text

    async def generate(self, prompt_token_ids, params, multi_modal_data=None):
        tokens = [ord(one) for one in self.text + "<|im_end|>"]
        one = types.SimpleNamespace(token_ids=tokens, text=self.text, finish_reason="stop", logprobs=None)
        return types.SimpleNamespace(outputs=[one])

async def main():
    executor = SingleTurnAgentExecutor(urls)
    sampling = types.SimpleNamespace(max_tokens=64, logprobs=None)
    return await asyncio.gather(*[
        executor.execute(prompt, row["label"], sampling, 4096, Tokenizer(), Engine(row["response"]))
        for row in rows
    ])

found = [[one["reward"], one["scores"], one["extra_logs"]] for one in asyncio.run(main())]
print("RESULT " + json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_client_of_openrlhf_gets_the_scorers_values(root: Path) -> None:
    for package in ("torch", "aiohttp", "openrlhf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    prompt = "<|im_start|>user\nWhose id is below 4?<|im_end|>\n<|im_start|>assistant\n"
    label = {"gold": GOLD, "db": "shop"}
    right = [(sql, label) for sql in STATEMENTS if "random" not in sql and len(sql) < 1000]
    wrong = [
        (GOLD, {**label, "gold": "SELECT broken"}),
        (GOLD, {**label, "db": "none"}),
        (GOLD, ""),
        (SLOW, label),
    ]
    rows = [*right, *wrong] * 3
    with SQLite(root, workers=2, timeout=1) as executor:
        scorer = fr.Scorer(SPEC, executor)
        local = openrlhf_reward(scorer, best=4)
        with serving(scorer, best=4, token="secret") as (url, app):
            with_token = url.replace("http://", "http://openrlhf:secret@") + "/get_reward"
            text = json.dumps([{"response": response, "label": given_one} for response, given_one in rows])
            done = subprocess.run(
                [sys.executable, "-c", OPENRLHF, f"{with_token},{with_token}", text, prompt],
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-4000:]
            assert 'code="401"' not in app.state.handler.metrics.text({})
        out = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])
        for (response, given_one), (reward, score, logs) in zip(rows, out, strict=True):
            reply = local([prompt + response + "<|im_end|>"], [prompt], [given_one])
            assert (reward, score, logs) == (reply["rewards"], reply["scores"], reply["extra_logs"])
            if isinstance(given_one, dict):
                sample = fr.Sample(response, given_one["gold"], given_one["db"], prompt)
                value = scorer.score_one(sample).value
                assert reward == (0.0 if value is None else for_float32(value))
                assert logs["unscorable"] == (value is None)


def test_the_client_of_slime_gets_the_scorers_values(root: Path) -> None:
    hub = pytest.importorskip("slime.rollout.rm_hub", reason="slime 0.3.1 is not installed")

    async def asked(url: str, samples: list[object]) -> list[float]:
        args = types.SimpleNamespace(custom_rm_path=None, rm_type="remote_rm", rm_url=f"{url}/remote_rm")
        found: list[float] = await hub.batched_async_rm(args, samples)
        await hub._get_shared_session().close()
        return found

    label = {"gold": GOLD, "db": "shop"}
    rows = [(GOLD, label), ("SELECT id FROM singer", label), (GOLD, {**label, "db": "none"}), (SLOW, label)]
    samples = [hub.Sample(prompt="Who?", response=text, label=json.dumps(one)) for text, one in rows]
    with SQLite(root, workers=2, timeout=1) as executor:
        scorer = fr.Scorer(SPEC, executor)
        expected = scorer.score([fr.Sample(text, one["gold"], one["db"]) for text, one in rows])
        with serving(scorer) as (url, _):
            found = asyncio.run(asked(url, samples))
    assert found == [0.0 if one.value is None else for_float32(one.value) for one in expected]
