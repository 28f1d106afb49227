"""`memory.json`, which says how a memory's vectors are made: written once, checked by everyone who opens the folder.

Vectors of different embedders or settings cannot be compared, so a mismatch is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finer_rewards.errors import ConfigError, DataError
from finer_rewards.memory.embedders import Embedder, embedder_from
from finer_rewards.memory.segments import SegmentStore
from finer_rewards.memory.sentence_embedder import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Raised when masking, operations or background texts change, and with them all vectors.
EMBEDDING_VERSION: Final = 2
EMBEDDING_OPTIONS: Final = ("delexicalise", "centre")
FORMAT: Final = 1
_MOVE: Final = "move the traces to a new memory with `export` and `import_`."


def agreed_embedder(
    folder: Path,
    embedder: str | Embedder | None,
    delexicalise: bool | None,
    centre: bool | None,
    *,
    create: bool,
) -> tuple[Embedder, dict[str, bool]]:
    """Return the embedder and the flags of the memory in a folder; make the memory when there is none.

    Args:
        folder: the folder.
        embedder: the embedder that the user passed, if any.
        delexicalise: the flag that the user passed, if any.
        centre: likewise.
        create: whether a new memory may be made.

    Raises:
        ConfigError: there is no memory and `create` is false, or it was made with another embedder or flag.
    """
    exists = (folder / "memory.json").exists()
    if not exists:
        _check_new(folder, create)
    chosen = None if embedder is None and exists else embedder_from(embedder or DEFAULT_EMBEDDER)
    spec = embedder if embedder is None or isinstance(embedder, str) else ""
    flags = {"delexicalise": delexicalise, "centre": centre}
    wanted = {
        "format": FORMAT,
        "embedder": chosen.fingerprint if chosen else "",
        "spec": DEFAULT_EMBEDDER if spec is None else spec,
        **{name: 0 if flag is False else EMBEDDING_VERSION for name, flag in flags.items()},
    }
    found = SegmentStore(folder).describe_once("memory.json", wanted)
    _check_content(folder, found)
    for name, flag in flags.items():
        _check_flag(folder, name, flag, found.get(name))
    if chosen is None:
        if not found.get("spec"):
            raise ConfigError(
                f"`TraceMemory.open({str(folder)!r}, embedder=...)` should get the embedder it was made with, "
                f"{found.get('embedder')!r}, which has no name to load it by. Pass the object."
            )
        chosen = embedder_from(_own(folder, str(found["spec"])))
    if chosen.fingerprint != found.get("embedder"):
        raise ConfigError(
            f"`TraceMemory.open({str(folder)!r}, embedder=...)` should get the embedder it was made with, "
            f"{found.get('embedder')!r}, but got {chosen.fingerprint!r}. Pass that one, or {_MOVE}"
        )
    return chosen, {name: bool(found[name]) for name in EMBEDDING_OPTIONS}


def as_made(folder: Path) -> Embedder:
    """Return a stand-in with the fingerprint of a memory's embedder, for `stats` and `export`, which embed nothing."""
    if not (folder / "memory.json").exists():
        _check_new(folder, create=False)
    return _UnloadedEmbedder(str(SegmentStore(folder).describe_once("memory.json", {}).get("embedder")))


class _UnloadedEmbedder:
    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise ConfigError("`embedder` should be given where traces are compared. Pass embedder=....")


def _own(folder: Path, spec: str) -> str:
    """Return the embedder's name in a folder's `memory.json`, if it is one that needs no trust.

    The folder may come from anywhere. An address in it would receive the user's reasoning and key, and a model in it
    would be loaded; only the hashing embedder is harmless.
    """
    if re.fullmatch(r"hashing(:\d+)?", spec, re.ASCII):
        return spec
    raise ConfigError(
        f"`embedder` should be given for the memory at `{folder}`, which was made with {spec!r:.200}: nothing is sent "
        f"or loaded because a folder says so. If you trust it, pass embedder={spec!r:.200} (--embedder)."
    )


def _check_new(folder: Path, create: bool) -> None:
    if not create:
        raise ConfigError(
            f"`{folder}` should hold a memory, but there is no memory.json in it. Check the path."
        )
    if folder.is_file():
        raise ConfigError(
            f"`TraceMemory.open(path)` should get a folder, but `{folder}` is a file. Name a folder."
        )


def _check_content(folder: Path, found: Mapping[str, Any]) -> None:
    if found.get("format") != FORMAT:
        raise DataError(
            f"The memory at `{folder}` should be of format {FORMAT}, but is of {found.get('format')!r:.80}: another "
            f"release made it. With that one, {_MOVE}"
        )
    for name in ("embedder", "spec"):
        if not isinstance(found.get(name), str):
            raise DataError(
                f"`{folder / 'memory.json'}` should have a text for {name!r}, but has {found.get(name)!r:.80}. "
                "Restore it from a copy."
            )


def checked_centres(
    path: Path, found: Mapping[str, Any], parts: int, dimension: int = 0
) -> list[list[float]]:
    """Return the centres, the vectors to subtract, that a folder's `centre.json` holds.

    Args:
        path: the path of the file.
        found: its content.
        parts: how many centres there should be.
        dimension: how long they should be; 0 while that is not known.

    Raises:
        DataError: they cannot be means of unit vectors, which are lists of numbers from -1 to 1.
    """
    centres = found.get("centres")
    if (
        isinstance(centres, list)
        and len(centres) == parts
        and isinstance(centres[0], list)
        and dimension in (0, len(centres[0]))
        and all(isinstance(centre, list) and len(centre) == len(centres[0]) > 0 for centre in centres)
        and all(
            type(number) in (int, float) and abs(number) <= 1.01 for centre in centres for number in centre
        )
    ):
        return centres
    raise DataError(f"`{path}` should hold means of unit vectors, but does not. Restore it from a copy.")


def _check_flag(folder: Path, name: str, wanted: bool | None, found: Any) -> None:
    if type(found) is not int or found not in (0, EMBEDDING_VERSION):
        raise DataError(
            f"The memory at `{folder}` should have {name!r} 0 or {EMBEDDING_VERSION}, but has {found!r}: another "
            f"release made it. With that one, {_MOVE}"
        )
    if wanted is not None and wanted != bool(found):
        raise ConfigError(
            f"`TraceMemory.open({str(folder)!r}, {name}=...)` should be {bool(found)}, as the memory was made, "
            f"but got {wanted}. Leave it out, or {_MOVE}"
        )
