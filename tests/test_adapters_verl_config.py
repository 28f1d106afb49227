"""`doctor --verl`: what a launch script or configuration of verl would do in silence."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from finer_rewards.adapters._verl_config import check_settings, read_settings
from finer_rewards.adapters.verl import overrides
from finer_rewards.cli import main
from finer_rewards.errors import ConfigError

OLD = {
    "custom_reward_function.path": "reward.custom_reward_function.path",
    "custom_reward_function.reward_kwargs.spec": "reward.custom_reward_function.reward_kwargs.spec",
    "reward_model.reward_manager": "reward.reward_manager.name",
    "reward_model.num_workers": "reward.num_workers",
    "sandbox_fusion.url": "reward.sandbox_fusion.url",
}


def script(folder: Path, lines: list[str]) -> Path:
    path = folder / "train.sh"
    head = "#!/bin/bash\nset -x\n# custom_reward_function.path=only/a/comment.py\npython3 -m verl.trainer.main_ppo"
    path.write_text(" \\\n    ".join([head, "data.train_files=$DATA/train.parquet", *lines, '"$@"']) + "\n")
    return path


def advice(path: Path) -> dict[str, str]:
    return {finding.key: finding.advice for finding in check_settings(read_settings(path)) if not finding.ok}


@pytest.mark.parametrize("manager", [False, True])
def test_what_overrides_writes_is_right(tmp_path: Path, manager: bool) -> None:
    lines = overrides("execution_match(mode='bird')", str(tmp_path), manager=manager, timeout=10)
    path = script(tmp_path, [shlex.quote(line) for line in lines])
    assert advice(path) == {}
    key = "+reward.custom_reward_function.reward_kwargs.spec"
    assert read_settings(path)[key] == "execution_match(mode='bird')"


def test_legacy_overrides_are_what_it_warns_about(tmp_path: Path) -> None:
    lines = [shlex.quote(line) for line in overrides("execution_only", str(tmp_path), legacy=True)]
    found = advice(script(tmp_path, lines))
    for old, new in OLD.items():
        if old.startswith("custom"):
            assert found[old] == f"Write {new}: verl 0.9 ignores the old key."
    assert "Set it" in found["reward.custom_reward_function.path"]


def test_every_old_key_has_its_new_name(tmp_path: Path) -> None:
    found = advice(script(tmp_path, [f"+{old}=x" for old in OLD]))
    assert all(found[old].startswith(f"Write {new}:") for old, new in OLD.items())


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("reward.reward_manager.name=batch", "reward.reward_manager.name", "Use one of naive"),
        (
            "reward.reward_manager.name=rate_limitd",
            "reward.reward_manager.name",
            "Did you mean 'rate_limited'",
        ),
        ("reward.reward_manager.source=importlib", "reward.reward_manager.module.path", "needs the module"),
        (
            "reward.custom_reward_function.path=/no/such.py",
            "reward.custom_reward_function.path",
            "no such file",
        ),
        (
            "reward.custom_reward_function.reward_kwargs.timeout=3",
            "reward.custom_reward_function.reward_kwargs.timeout",
            "Write +reward",
        ),
        (
            "+reward.custom_reward_function.reward_kwargs.spec='executible()'",
            "reward.custom_reward_function.reward_kwargs.spec",
            "executable",
        ),
        (
            "+reward.custom_reward_function.reward_kwargs.root=/no/such/folder",
            "reward.custom_reward_function.reward_kwargs.root",
            "no such folder",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, key: str, words: str) -> None:
    lines = ["reward.custom_reward_function.path=pkg://finer_rewards.adapters.verl", line]
    assert words in advice(script(tmp_path, lines))[key]


def test_yaml_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "config.yaml"
    kwargs = f"reward_kwargs: {{spec: execution_only, root: {tmp_path}}}"
    path.write_text(f"custom_reward_function:\n  path: pkg://finer_rewards.adapters.verl\n  {kwargs}\n")
    assert main(["doctor", "--verl", str(path)]) == 1
    assert "verl 0.9 ignores the old key" in capsys.readouterr().out
    function = f"custom_reward_function:\n    path: pkg://finer_rewards.adapters.verl\n    {kwargs}\n"
    path.write_text(f"reward:\n  {function}")
    assert main(["doctor", "--verl", str(path)]) == 0
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="should be YAML"):
        read_settings(path)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--verl", str(tmp_path / "none.sh")]) == 2
    assert "should be a script or a configuration" in capsys.readouterr().err
