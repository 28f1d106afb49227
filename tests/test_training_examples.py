"""The scripts of `examples/train`: the whole chain on a tiny model, and what verl and OpenRLHF make of their arguments.

No training runs with verl and OpenRLHF here, for that takes a GPU and vLLM: Hydra composes verl's own configuration
with our overrides, OpenRLHF's own parser and checks take our arguments, and both load rows and reward.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.cli import main

TRAIN = Path(__file__).parent.parent / "examples" / "train"
FERRIES = TRAIN.parent / "ferries"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONPATH": str(TRAIN.parent.parent),
}
GOLD = "SELECT COUNT(*) FROM ferry"


def run(arguments: list[str], folder: Path, **more: str) -> str:
    environment = {**os.environ, **OFFLINE, **more}
    done = subprocess.run(
        arguments, capture_output=True, text=True, cwd=folder, env=environment, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def script(name: str, folder: Path, *options: str) -> str:
    return run([sys.executable, str(TRAIN / name), "--smoke", *options], folder)


# -- TRL: prepare, warm up, train, evaluate, report


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole chain ran, memory and all."""
    pytest.importorskip("trl", reason="needs TRL: pip install 'finer-rewards[trl]'")
    pytest.importorskip("numpy")
    folder = tmp_path_factory.mktemp("chain")
    said = script("sft_warmup.py", folder)
    assert "114 of 114 traces are well formed and right" in said
    script("trl_grpo_3b.py", folder, "--memory", "traces", "--embedder", "hashing")
    (folder / "table.txt").write_text(script("evaluate_3b.py", folder))
    return folder


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "trainer_state.json").read_text())
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_grpo_goes_on_from_the_warm_start_and_logs_every_component(chain: Path) -> None:
    history = [
        entry for entry in state(chain / "smoke/grpo/checkpoint-4")["log_history"] if "reward" in entry
    ]
    assert [entry["step"] for entry in history] == [1, 2, 3, 4]
    for entry in history:
        assert {"finer/well_formed", "finer/execution_match", "finer/atomic_f1", "finer/memory"} <= set(entry)
        assert entry["finer/unscorable"] == 0
    # The warm start shows: a random model writes neither.
    assert max(entry["finer/well_formed"] for entry in history) > 0
    assert max(entry["finer/execution_match"] for entry in history) > 0
    log = [json.loads(line) for line in (chain / "smoke/grpo/scores-0.jsonl").read_text().splitlines()]
    assert len([record for record in log if "value" in record]) == 4 * 32


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_report_reads_what_training_logged(chain: Path, tmp_path: Path) -> None:
    assert (
        main(["report", str(chain / "smoke/grpo/scores-0.jsonl"), "-o", str(tmp_path / "report.html")]) == 0
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "execution_match" in page
    assert "atomic_f1" in page


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_what_training_verified_is_remembered(chain: Path) -> None:
    with fr.TraceMemory.open(chain / "traces", create=False) as memory:
        assert memory.stats()["verified"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_evaluation_agrees_with_the_verb_evaluate(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((chain / "smoke/evaluation/results.json").read_text())
    everything = results["all"]
    assert (
        everything["questions"]
        == 38
        == sum(row["questions"] for name, row in results.items() if name != "all")
    )
    assert everything["single"] <= everything["recall@8"] and everything["vote"] <= everything["recall@8"]
    assert everything["recall@8"] > 0
    assert (chain / "table.txt").read_text().count("\n") == len(results) + 2
    candidates, questions = chain / "smoke/evaluation/candidates.jsonl", chain / "smoke/dev.jsonl"
    databases = chain / "smoke/databases"
    # Rows of no published layout are compared by our own mode, which the verb takes when asked.
    options = ["--db", str(databases), "--format", "jsonl", "--mode", "answer"]
    status = main(["evaluate", str(candidates), str(questions), *options])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == 0
    assert sum(record["value"] for record in records) / 38 == pytest.approx(everything["vote"])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_training_resumes_where_it_was(chain: Path) -> None:
    before = state(chain / "smoke/grpo/checkpoint-4")["log_history"]
    script(
        "trl_grpo_3b.py", chain, "--resume_from_checkpoint", "last", "--max_steps", "5", "--save_steps", "5"
    )
    after = state(chain / "smoke/grpo/checkpoint-5")
    assert after["global_step"] == 5
    assert after["log_history"][: len(before)] == before


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_adapters_train(chain: Path) -> None:
    pytest.importorskip("peft", reason="--lora_rank needs peft")
    options = ["--lora_rank", "4", "--max_steps", "1", "--save_strategy", "no", "--output_dir", "smoke/lora"]
    script("trl_grpo_3b.py", chain, *options)
    settings = json.loads((chain / "smoke/lora/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (4, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_defaults_are_those_of_the_paper() -> None:
    pytest.importorskip("trl")
    code = "import json, trl_grpo_3b; print(json.dumps(trl_grpo_3b.PAPER))"
    said = run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(TRAIN)!r}); {code}"], TRAIN)
    paper = json.loads(said.splitlines()[-1])
    wanted = {
        "learning_rate": 8e-6, "num_generations": 32, "gradient_accumulation_steps": 32, "beta": 0.04,
        "max_completion_length": 2048, "temperature": 1.0, "bf16": True, "gradient_checkpointing": True,
        "max_steps": 4000,
    }  # fmt: skip
    assert {name: paper[name] for name in wanted} == wanted


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "without_gold.jsonl"}, "should have a column 'gold_sql'"),
        ({"data": "no_database.jsonl"}, "Did you mean 'harbour'"),
        ({"reward": "execution_mtch()"}, "Did you mean 'execution_match'"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_step(chain: Path, change: dict[str, str], says: str) -> None:
    row = json.loads((chain / "smoke/rows/train.jsonl").read_text().splitlines()[0])
    less = {name: value for name, value in row.items() if name != "gold_sql"}
    (chain / "without_gold.jsonl").write_text(json.dumps(less) + "\n")
    (chain / "no_database.jsonl").write_text(json.dumps({**row, "db_id": "harbor"}) + "\n")
    options = [part for name, value in change.items() for part in (f"--{name}", value)]
    command = [sys.executable, str(TRAIN / "trl_grpo_3b.py"), "--smoke", "--output_dir", "wrong", *options]
    environment = {**os.environ, **OFFLINE}
    done = subprocess.run(command, capture_output=True, text=True, cwd=chain, env=environment, check=False)
    assert done.returncode != 0
    assert says in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one_gpu", "zero2", "zero3"])
def test_accelerate_reads_its_configurations(name: str) -> None:
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    found = config_args.load_config_from_file(str(TRAIN / "configs" / f"{name}.yaml"))
    assert found.mixed_precision == "bf16"
    assert str(found.distributed_type).endswith("NO" if name == "one_gpu" else "DEEPSPEED")
    if name != "one_gpu":
        assert found.deepspeed_config["zero_stage"] == int(name[-1])


# -- verl and OpenRLHF: their own parsers take what the scripts pass

#: Stands for `python3`: runs what the scripts pipe in, and prints what they would start.
LAUNCHER = f"""#!{sys.executable}
import json, os, sys
if sys.argv[1] == "-":
    os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Any]:
    """Return what a script would start."""
    launcher = tmp_path / "launcher"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)

    def arguments(name: str, *options: str, **settings: str) -> list[str]:
        rows = tmp_path / "rows.jsonl"
        rows.touch()
        settings = {
            "PYTHON": str(launcher),
            "DATABASES": str(FERRIES),
            "ROWS": str(rows),
            "DEV": str(rows),
            **settings,
        }
        said = run(["bash", str(TRAIN / name), *options], tmp_path, **settings)
        found: list[str] = json.loads(said.splitlines()[-1])
        return found

    return arguments


@pytest.mark.slow
def test_the_scripts_name_the_reward_and_say_what_is_wrong_with_it(launched: Any, tmp_path: Path) -> None:
    module, *overrides = launched("verl_grpo_3b.sh", "trainer.nnodes=2")[1:]
    assert module == "verl.trainer.main_ppo"
    assert overrides[-1] == "trainer.nnodes=2"
    assert "reward.custom_reward_function.path=pkg://finer_rewards.adapters.verl" in overrides
    arguments = launched("openrlhf_grpo_3b.sh")
    shim = Path(arguments[arguments.index("--reward.remote_url") + 1])
    reward = runpy.run_path(str(shim))["reward_func"]
    reply = reward([f"prompt{GOLD}"], ["prompt"], [json.dumps({"gold": GOLD, "db": "ferries"})])
    assert reply["rewards"] == 4
    for name in ("verl_grpo_3b.sh", "openrlhf_grpo_3b.sh"):
        with pytest.raises(AssertionError, match="Did you mean"):
            launched(name, REWARD="execution_mtch()")
        label = {"gold": GOLD, "db": "feries", "question": "?"}
        row = {"data_source": "x", "prompt": [], "reward_model": {"ground_truth": GOLD}, "extra_info": label}
        (tmp_path / "wrong.jsonl").write_text(json.dumps({**row, "label": label}))
        with pytest.raises(AssertionError, match="Did you mean 'ferries'"):
            launched(name, ROWS=str(tmp_path / "wrong.jsonl"))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_hydra_composes_the_configuration_of_verl_and_verl_loads_the_reward(launched: Any) -> None:
    pytest.importorskip("verl", reason="needs verl: pip install 'finer-rewards[verl]'")
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.reward import get_custom_reward_fn

    overrides = launched("verl_grpo_3b.sh")[2:]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=overrides)
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert (actor.optim.lr, actor.use_kl_loss, actor.kl_loss_coef, actor.grad_clip) == (8e-6, True, 0.04, 1.0)
    assert (rollout.n, rollout.temperature, rollout.name) == (32, 1.0, "vllm")
    assert (config.data.max_prompt_length, config.data.max_response_length) == (2048, 2048)
    assert config.trainer.total_training_steps == 4000
    assert config.algorithm.adv_estimator == "grpo"
    reward = get_custom_reward_fn(config)
    assert reward is not None
    import asyncio

    thought = "One row of the table ferry is one ferry, so the rows of that table are counted, without any condition."
    text = f"<think>{thought}</think>{GOLD}"
    found = asyncio.run(reward("x", text, GOLD, {"db": "ferries"}))
    assert (found["score"], found["acc"]) == (4.0, 1.0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_parser_and_the_checks_of_openrlhf_take_the_arguments(
    launched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openrlhf", reason="needs OpenRLHF: pip install 'finer-rewards[openrlhf]'")
    arguments = launched("openrlhf_grpo_3b.sh")
    assert arguments[:2] == ["-m", "openrlhf.cli.train_ppo_ray"]

    class Trained(Exception):  # noqa: N818
        """Training would start here."""

    def start(*_: Any) -> None:
        raise Trained

    # What needs vLLM and DeepSpeed is replaced; parser and checks stand in the module itself.
    for name, things in {
        "ray": ("is_initialized",),
        "ray.util": (),
        "ray.util.placement_group": ("placement_group",),
        "openrlhf.trainer": (),
        "openrlhf.trainer.ray": ("create_vllm_engines",),
        "openrlhf.trainer.ray.launcher": ("RayActorGroup", "ReferenceModelActor", "RewardModelActor"),
        "openrlhf.trainer.ray.ppo_actor": ("PolicyModelActor",),
        "openrlhf.trainer.ray.ppo_critic": ("CriticModelActor",),
        "openrlhf.utils": ("get_strategy",),
    }.items():
        module = ModuleType(name)
        if name == "openrlhf.utils":  # `hierarchize` comes from the real package
            import importlib.util

            found = importlib.util.find_spec("openrlhf")
            module.__path__ = [str(Path(next(iter(found.submodule_search_locations or []))) / "utils")]  # type: ignore
        for thing in things:
            setattr(module, thing, start)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "argv", ["train_ppo_ray", *arguments[2:]])
    with pytest.raises(Trained) as caught:
        runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")
    frame = next(frame for frame in caught.traceback if frame.name == "train").frame
    settings = frame.f_locals["args"]
    assert (settings.rollout.n_samples_per_prompt, settings.rollout.temperature) == (32, 1.0)
    assert (settings.actor.adam.lr, settings.algo.kl.init_coef, settings.algo.kl.use_loss) == (
        8e-6,
        0.04,
        True,
    )
    assert (settings.data.input_key, settings.data.label_key) == ("input", "label")
    assert settings.algo.advantage.estimator == "group_norm"
    assert settings.reward.remote_url[0].endswith("reward.py")


@pytest.mark.parametrize("name", ["verl_grpo_3b.sh", "openrlhf_grpo_3b.sh"])
def test_bash_reads_the_scripts(name: str) -> None:
    bash = shutil.which("bash")
    assert bash
    assert subprocess.run([bash, "-n", str(TRAIN / name)], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_benchmark_of_one_gpu_goes_its_way_on_a_cpu(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs TRL: pip install 'finer-rewards[trl]'")
    command = [
        sys.executable,
        "-m",
        "benchmarks.research.gpu_3b",
        str(tmp_path / "made"),
        "--tiny",
        "--steps",
        "2",
    ]
    said = run(command, tmp_path)
    assert "a step of 8 completions" in said
    assert "(median of 1, the first left out)" in said
    assert "memory at its highest" in said
