"""What is written whole: an interruption leaves what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from finer_rewards._util.atomic_files import replacing


@pytest.mark.parametrize("options", [{}, {"durable": True}, {"exclusive": True}])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path, **options) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for content in ("old", "new"):
        with replacing(path) as draft:
            draft.mkdir()
            (draft / f"{content}.txt").write_text(content)
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was made: the old folder comes back
    assert [file.name for file in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_writers_the_first_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in ("first", "second"):
        with replacing(path, exclusive=True) as draft:
            draft.write_text(content)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
