"""The trace memory as a whole: who gets in, what is found, and that nothing depends on order."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bounds import LONG

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.errors import ConfigError, DataError  # noqa: E402
from finer_rewards.memory import Gate, HashingEmbedder, Trace, TraceMemory, database_id  # noqa: E402
from finer_rewards.types import Answer, Evidence, Execution, Recall, Sample, Score, Status, Trial  # noqa: E402

RIGHT = Score(1.0, name="execution_match()")
WRONG = Score(0.0, name="execution_match()")
FILLER = (
    "so the table singer holds one row for each singer and the column age is a number which can be compared, "
    "therefore the query keeps the singer rows whose age passes the test and returns the name of the singer"
)


def thought(topic: str, words: int = 12) -> str:
    """A thought that passes the gate, of words that depend on the topic."""
    own = " ".join(f"{topic}{number}" for number in range(words))
    return f"We look at singer age and name of singer: {own} {FILLER if words < 30 else ''}".strip()


def observed(
    text: str,
    db: str = "concert",
    *,
    right: bool = True,
    question: str = "",
    sql: str = "SELECT name FROM singer",
    **other: Any,
) -> tuple[Evidence, Score]:
    """A scored sample, as the scorer would hand it out."""
    sample = Sample(
        f"<think>{text}</think>{sql}", gold="SELECT name FROM singer", db=db, question=question or text
    )
    gold = Execution(Status.ok, ("name",), (("Joe",), ("Rose",)), tables=frozenset({"singer"}))
    predicted = gold if right else replace(gold, rows=(("Ann",),))
    evidence = Evidence(sample, Answer(text, sql), predicted=predicted, gold=gold)
    return replace(evidence, **other), RIGHT if right else WRONG


class Planted:
    """An embedder whose vectors the test chooses."""

    def __init__(self, vectors: dict[str, Sequence[float]], default: Sequence[float] = (0.0, 1.0)) -> None:
        self.vectors, self.default, self.calls = vectors, default, 0

    fingerprint = "planted"

    def embed(self, texts: Sequence[str]) -> Any:
        self.calls += 1
        rows = [
            next((row for mark, row in self.vectors.items() if mark in text), self.default) for text in texts
        ]
        return np.array(rows, dtype=np.float32)


@pytest.fixture
def memory(tmp_path: Path) -> TraceMemory:
    return TraceMemory.open(tmp_path / "memory", "hashing", durable=False)


def test_what_is_remembered_is_found_from_another_database_only(memory: TraceMemory) -> None:
    report = memory.remember([observed(thought("alpha"), "concert")])
    assert (report.admitted, len(memory)) == (1, 1)
    [elsewhere] = memory.search([thought("alpha")], ["pets"])
    assert elsewhere.centroid == pytest.approx(1.0, abs=1e-3)
    assert elsewhere.traces == (memory.traces()[0].key,)
    [own] = memory.search([thought("alpha")], ["concert"])
    assert (own.centroid, own.verified) == (None, ())
    assert memory.search([thought("alpha")], ["concert"], scope="same")[0].verified
    assert memory.search([thought("alpha")], ["concert"], scope="any")[0].verified


@pytest.mark.parametrize("scope", ["other", "same", "any"])
def test_an_empty_memory_finds_nothing(memory: TraceMemory, scope: Any) -> None:
    [recall] = memory.search([thought("alpha")], ["pets"], scope=scope)
    assert (recall.status, recall.centroid, recall.verified, recall.failed) == (Status.ok, None, (), ())


def test_right_and_wrong_answers_are_kept_apart(memory: TraceMemory) -> None:
    wrong = thought("beta") + " and we join the tables and count the rows for each city"
    memory.remember([observed(thought("alpha")), observed(wrong, right=False)])
    assert len(memory) == 1
    assert memory.stats()["failed"] == 1
    [found] = memory.search([wrong], ["pets"])
    assert found.failed[0] > 0.99 > found.verified[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": Answer("too few words about singer", "SELECT name FROM singer")}, "too short"),
        ({"answer": Answer(None, "SELECT name FROM singer")}, "malformed"),
        ({"answer": Answer("  ", "SELECT name FROM singer")}, "malformed"),
        ({"answer": Answer(thought("x"), "SELECT name FROM singer", problem="two thoughts")}, "malformed"),
        ({"answer": Answer(thought("x", 2500), "SELECT name FROM singer")}, "too long"),
        ({"answer": Answer("singer age name " * 30, "SELECT name FROM singer")}, "repeats itself"),
        (
            {
                "answer": Answer(
                    "take two eggs and " + " ".join(f"spoon{n}" for n in range(40)), "SELECT name FROM singer"
                )
            },
            "hardly mentions the tables and columns",
        ),
    ],
)
def test_the_gate_refuses_with_a_reason(memory: TraceMemory, change: dict[str, Any], reason: str) -> None:
    report = memory.remember([observed(thought("alpha"), **change)])
    assert report.refused == {reason: 1}
    assert len(memory) == 0
    assert memory.stats()["refused"] == {reason: 1}


def test_only_sound_verification_counts(memory: TraceMemory) -> None:
    gold = Execution(Status.ok, ("n",), ((3,),), tables=frozenset({"singer"}))
    constant = Execution(Status.ok, ("n",), ((3,),), tables=frozenset())
    random_one = replace(gold, volatile="random")
    empty = Execution(Status.ok, ("n",), (), tables=frozenset({"singer"}))
    cases = {
        "constant": {"predicted": constant, "gold": gold},
        "random": {"predicted": random_one, "gold": gold},
        "empty": {"predicted": empty, "gold": empty},
        "gold failed": {"predicted": gold, "gold": Execution(Status.failed)},
    }
    for name, runs in cases.items():
        base, score = observed(thought(name))
        trials = (Trial("concert", runs["predicted"], (runs["gold"],)),)
        evidence = replace(base, predicted=runs["predicted"], gold=runs["gold"], trials=trials)
        memory.remember([(evidence, score)])
    assert len(memory) == 0


def test_a_match_on_one_database_out_of_two_is_no_verification(memory: TraceMemory) -> None:
    base, score = observed(thought("alpha"))
    good = base.trials[0]
    assert good.predicted is not None
    bad = replace(good, db="other", predicted=replace(good.predicted, rows=(("Zoe",),)))
    sample = replace(base.sample, db=("concert", "other"))
    memory.remember([(replace(base, sample=sample, trials=(good, bad)), score)])
    assert len(memory) == 0
    memory.remember([(replace(base, sample=sample, trials=(good, replace(good, db="other"))), score)])
    assert len(memory) == 1


def test_an_unscored_sample_is_refused(memory: TraceMemory) -> None:
    evidence, _ = observed(thought("alpha"))
    report = memory.remember([(evidence, Score(None, status=Status.gold_failed))])
    assert report.refused == {"not scored (gold_failed)": 1}


def test_near_duplicates_of_the_same_database_are_refused(memory: TraceMemory) -> None:
    first = thought("alpha", 40)
    near = first.replace("alpha7", "beta")
    other = first.replace("alpha", "gamma")
    reports = [memory.remember([observed(text, question=text)]) for text in (first, near, other)]
    assert [report.refused for report in reports] == [{}, {"near duplicate": 1}, {}]
    assert memory.remember([observed(near, "pets")]).admitted == 1
    assert memory.remember([observed(near, question="wrong", right=False)]).admitted == 1


def test_layout_and_case_make_no_new_trace(memory: TraceMemory) -> None:
    text = thought("alpha")
    variants = [text, text.upper(), text.replace(" ", "  "), text + " ...", f"  {text}"]
    memory.remember([observed(variant, question="q") for variant in variants])
    for variant in variants:
        memory.remember([observed(variant, question="q")])
    assert len(memory) == 1


def test_a_question_gets_no_more_than_its_share(tmp_path: Path) -> None:
    gate = Gate(per_question=2)
    with TraceMemory.open(tmp_path, "hashing", gate=gate, durable=False) as memory:
        batch = [observed(thought(f"{name}{name}", 40), question="q") for name in ("ab", "cd", "ef", "gh")]
        report = memory.remember(batch)
        assert report.admitted == 2
        assert report.refused == {"enough traces of this question": 2}
        assert memory.remember([observed(thought("ijij", 40), question="q")]).admitted == 0
        assert memory.remember([observed(thought("ijij", 40), question="r")]).admitted == 1


def test_the_order_of_a_batch_decides_nothing(tmp_path: Path) -> None:
    batch = [
        observed(thought(f"t{n // 2}", 20), question="q" if n % 3 else "r", right=n % 4 > 0)
        for n in range(24)
    ]
    digests = set()
    for seed in range(4):
        random.Random(seed).shuffle(batch)
        with TraceMemory.open(tmp_path / str(seed), "hashing", durable=False) as memory:
            memory.remember(batch)
            digests.add(memory.digest)
    assert len(digests) == 1


def test_a_search_is_the_same_alone_and_in_any_batch(memory: TraceMemory) -> None:
    memory.remember([observed(thought(f"t{n}", 20), f"db{n % 5}", right=n % 4 > 0) for n in range(120)])
    asked = [(thought(f"t{n}", 15), f"db{n % 7}") for n in range(90)]

    def numbers(recall: Recall) -> Recall:
        return replace(recall, traces=())  # of equally similar traces any may be named

    alone = {pair: numbers(memory.search([pair[0]], [pair[1]], top_k=7)[0]) for pair in asked}
    for seed in range(3):
        random.Random(seed).shuffle(asked)
        together = memory.search([text for text, _ in asked], [db for _, db in asked], top_k=7)
        assert [numbers(recall) for recall in together] == [alone[pair] for pair in asked]


def test_searching_changes_nothing(memory: TraceMemory) -> None:
    memory.remember([observed(thought("alpha"))])
    before = {path: path.read_bytes() for path in memory.path.rglob("*") if path.is_file()}
    memory.search([thought("alpha"), "new"], ["pets", "pets"])
    assert before == {path: path.read_bytes() for path in memory.path.rglob("*") if path.is_file()}


def test_others_traces_show_at_the_next_snapshot_and_digests_agree(tmp_path: Path) -> None:
    first, second = (TraceMemory.open(tmp_path, "hashing", durable=False) for _ in range(2))
    first.remember([observed(thought("alpha")), observed(thought("beta"))])
    second.remember([observed(thought("alpha")), observed(thought("gamma"))])
    assert (len(first), len(second)) == (2, 2)
    assert first.digest != second.digest
    assert first.snapshot() == second.snapshot()
    assert (len(first), len(second)) == (3, 3)
    assert len(TraceMemory.open(tmp_path)) == 3


def test_digest_does_not_depend_on_who_wrote_what_when(tmp_path: Path) -> None:
    batch = [observed(thought(f"t{n}", 20), f"db{n % 3}") for n in range(12)]
    digests = set()
    for writers in (1, 2, 3):
        folder = tmp_path / str(writers)
        opened = [TraceMemory.open(folder, "hashing", durable=False) for _ in range(writers)]
        for number, pair in enumerate(batch if writers != 2 else batch[::-1]):
            opened[number % writers].remember([pair], step=number)
        digests |= {memory.snapshot() for memory in opened}
    assert len(digests) == 1


def test_reopening_finds_everything_and_the_embedder(tmp_path: Path) -> None:
    with TraceMemory.open(tmp_path, "hashing:256", durable=False) as memory:
        memory.remember([observed(thought("alpha"))], model="m", step=7, signature="s")
        digest = memory.digest
    again = TraceMemory.open(tmp_path)
    assert (again.digest, again.embedder.fingerprint) == (digest, "hashing:256")
    [trace] = again.traces()
    assert (trace.model, trace.step, trace.signature, trace.sql) == ("m", 7, "s", "SELECT name FROM singer")
    assert again[trace.key] == trace


def test_another_embedder_or_dimension_is_refused_with_both_named(tmp_path: Path) -> None:
    with TraceMemory.open(tmp_path, "hashing:256", centre=False, durable=False) as memory:
        memory.remember([observed(thought("alpha"))])
    with pytest.raises(ConfigError, match=r"hashing:256.*hashing:512"):
        TraceMemory.open(tmp_path, "hashing:512")

    class Changed(HashingEmbedder):
        fingerprint = "hashing:256"

    with pytest.raises(ConfigError, match=r"length 256.*makes 64"):
        TraceMemory.open(tmp_path, Changed(64)).search(["what table"], ["pets"])


@pytest.mark.parametrize("failure", ["raise", "nan", "wrong shape"])
def test_a_failing_embedder_is_nobodys_zero(tmp_path: Path, failure: str) -> None:
    class Failing(Planted):
        def embed(self, texts: Sequence[str]) -> Any:
            if failure == "raise":
                raise OSError("no route to host")
            vectors = super().embed(texts)
            if failure == "nan":
                vectors[[index for index, text in enumerate(texts) if "bad" in text]] = np.nan
            return vectors[:, 0] if failure == "wrong shape" else vectors

    memory = TraceMemory.open(tmp_path, Failing({}), delexicalise=False, centre=False, durable=False)
    if failure == "wrong shape":
        with pytest.raises(ConfigError, match="should return an array of shape"):
            memory.search(["bad"], ["pets"])
        return
    bad, empty, good = memory.search(["bad", "", "good"], ["pets"] * 3)
    assert bad.status is Status.memory_unavailable
    assert "planted" in bad.error
    assert empty.status is Status.ok
    assert good.status is (Status.ok if failure == "nan" else Status.memory_unavailable)
    offered = [observed(thought("bad")), observed(thought("good"))]
    if failure == "nan":
        report = memory.remember(offered)
        reason = "the embedder returned numbers that are not finite"
        assert (report.admitted, report.refused) == (1, {reason: 1})
    else:
        with pytest.warns(RuntimeWarning, match="2 traces were not stored.*no route to host"):
            report = memory.remember(offered)
        reason = "the embedder failed (OSError)"
        assert report.refused == {reason: 2}
    # Whoever opens the memory later sees it, and nothing of those traces is there.
    again = TraceMemory.open(tmp_path, Planted({}), durable=False)
    assert again.stats()["refused"] == dict(report.refused)
    assert len(again) == report.admitted
    assert again.remember(offered).admitted == 2 - report.admitted


@pytest.mark.parametrize("call", range(4))
def test_an_embedder_that_fails_half_way_leaves_nothing_half_stored(tmp_path: Path, call: int) -> None:
    class Flaky(HashingEmbedder):
        """Fails at one of its calls: at the background, at the masked words, or at the plans."""

        calls = -1

        def embed(self, texts: Sequence[str]) -> Any:
            self.calls += 1
            if self.calls == call:
                raise OSError("no route to host")
            return super().embed(texts)

    memory = TraceMemory.open(tmp_path, Flaky(64), durable=False)
    offered = [observed(thought("alpha"))]
    with pytest.warns(RuntimeWarning, match="no route to host"):
        assert memory.remember(offered).refused == {"the embedder failed (OSError)": 1}
    again = TraceMemory.open(tmp_path, HashingEmbedder(64))
    assert (len(again), again.stats()["verified"], again.verify().ok) == (0, 0, True)
    assert memory.remember(offered).admitted == 1
    again.snapshot()
    assert again.digest == memory.digest
    assert again.search([thought("alpha")], ["pets"])[0].centroid == pytest.approx(1.0, abs=1e-3)


def test_a_memory_says_how_its_vectors_were_made(tmp_path: Path) -> None:
    TraceMemory.open(tmp_path / "raw", "hashing", delexicalise=False)
    assert TraceMemory.open(tmp_path / "raw").describe()["delexicalise"] is False
    with pytest.raises(ConfigError, match=r"delexicalise=\.\.\..*should be False.*got True"):
        TraceMemory.open(tmp_path / "raw", delexicalise=True)
    manifest = tmp_path / "raw" / "memory.json"
    manifest.write_text(manifest.read_text().replace('"delexicalise": 0', '"delexicalise": 99'))
    with pytest.raises(ConfigError, match="another release"):
        TraceMemory.open(tmp_path / "raw")


def test_the_centre_is_written_once_and_kept(tmp_path: Path) -> None:
    class Drifting(HashingEmbedder):
        """Answers a little differently each time, as servers do."""

        drift = 0.0

        def embed(self, texts: Sequence[str]) -> Any:
            return super().embed(texts) + self.drift

    first = TraceMemory.open(tmp_path, Drifting(64), durable=False)
    first.search([thought("alpha")], ["pets"])
    assert not (tmp_path / "centre.json").exists()
    first.remember([observed(thought("alpha"))])
    kept = (tmp_path / "centre.json").read_bytes()
    later = Drifting(64)
    later.drift = 0.01
    second = TraceMemory.open(tmp_path, later, durable=False)
    second.remember([observed(thought("beta", 40))])
    assert (tmp_path / "centre.json").read_bytes() == kept


@pytest.mark.parametrize("masks", [True, False])
def test_unrelated_text_sits_at_or_below_the_zero(tmp_path: Path, masks: bool) -> None:
    memory = TraceMemory.open(tmp_path, "hashing", delexicalise=masks, durable=False)
    memory.remember([observed(thought(f"t{n}", 40), f"db{n % 3}") for n in range(30)])
    story = "The old man and his dog walked along the beach and watched the ships come home in the evening."
    stray, own = memory.search([story, thought("t1", 30)], ["pets", "pets"])
    assert stray.centroid is not None
    assert own.centroid is not None
    assert stray.centroid <= stray.zero_centroid + 0.05
    assert own.centroid > own.zero_centroid + 0.3


def test_zero_vectors_and_huge_thoughts_are_harmless(tmp_path: Path) -> None:
    embedder = Planted({"null": (0.0, 0.0)}, default=(1.0, 0.0))
    with TraceMemory.open(tmp_path, embedder, delexicalise=False, centre=False, durable=False) as memory:
        memory.remember([observed(thought("null")), observed(thought("one"))])
        null, huge = memory.search(["null", "word " * 10_000], ["pets", "pets"])
        assert set(null.verified) == {0.0}
        assert null.centroid == 0.0
        assert max(huge.verified) == pytest.approx(1.0)


def test_texts_are_embedded_once(tmp_path: Path) -> None:
    embedder = Planted({})
    memory = TraceMemory.open(tmp_path, embedder, durable=False)
    memory.search(["the same column"] * 50, ["pets"] * 50)
    calls = embedder.calls
    memory.search(["the same column"], ["dogs"])
    assert embedder.calls == calls


def test_export_and_import_round_trip(tmp_path: Path, memory: TraceMemory) -> None:
    memory.remember([observed(thought(f"t{n}", 40), right=n % 3 > 0) for n in range(9)])
    assert memory.export(tmp_path / "traces.jsonl") == 9
    copy = TraceMemory.open(tmp_path / "copy", "hashing", durable=False)
    assert copy.import_(tmp_path / "traces.jsonl") == 9
    assert copy.import_(tmp_path / "traces.jsonl") == 0
    assert copy.digest == memory.digest
    assert copy.traces() == memory.traces()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2.*should be JSON"),
        ("[1]", "line 2.*JSON object"),
        ('{"text": "a"}', "line 2.*should have a 'db'"),
        ('{"text": "a", "db": 3}', "line 2.*'db' of the wrong type"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, memory: TraceMemory, line: str, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"text": "a", "db": "b"}) + "\n" + line + "\n")
    with pytest.raises(DataError, match=message):
        memory.import_(path)


def test_compact_keeps_everything(tmp_path: Path) -> None:
    for number in range(5):
        with TraceMemory.open(tmp_path, "hashing", durable=False) as memory:
            memory.remember([observed(thought(f"t{number}", 20)), observed("short", question=str(number))])
    reader = TraceMemory.open(tmp_path)
    before = (reader.digest, reader.stats()["refused"], reader.traces())
    assert memory.compact() == 5
    assert len(list((tmp_path / "segments").iterdir())) == 1
    reader.snapshot()
    again = TraceMemory.open(tmp_path)
    for opened in (reader, again):
        assert (opened.digest, opened.stats()["refused"], opened.traces()) == before
    assert again.verify().ok
    assert again.compact() == 0


def test_a_live_writer_keeps_its_segment(tmp_path: Path) -> None:
    writer = TraceMemory.open(tmp_path, "hashing", durable=False)
    writer.remember([observed(thought("alpha"))])
    for number in range(3):
        with TraceMemory.open(tmp_path, "hashing", durable=False) as other:
            other.remember([observed(thought(f"t{number}", 20))])
    assert TraceMemory.open(tmp_path).compact() == 3
    writer.remember([observed(thought("beta"))])
    assert len(TraceMemory.open(tmp_path)) == 5


def _in_child(memory: TraceMemory, number: int, queue: Any) -> None:
    try:
        memory.remember([observed(thought(f"child{number}", 20))])
        queue.put((memory.stats()["index"], memory.search([thought("alpha")], ["pets"])[0].verified[:1]))
    except BaseException as error:  # noqa: BLE001
        queue.put(repr(error))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_child_process_goes_on_with_its_own_segment(tmp_path: Path, method: str) -> None:
    memory = TraceMemory.open(tmp_path, "hashing", durable=False)
    memory.remember([observed(thought("alpha"))])
    here = memory.search([thought("alpha")], ["pets"])[0].verified[:1]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=_in_child, args=(memory, number, queue)) for number in range(2)]
    for child in children:
        child.start()
    answers = [queue.get(timeout=LONG) for _ in children]
    for child in children:
        child.join(LONG)
    assert [answer[1] for answer in answers] == [here, here]
    if method == "fork":
        assert {answer[0] for answer in answers} == {"exact"}
    memory.remember([observed(thought("omega"))])
    memory.snapshot()
    assert len(memory) == 4
    assert len(list((tmp_path / "segments").iterdir())) == 3


def test_it_pickles(memory: TraceMemory) -> None:
    memory.remember([observed(thought("alpha"))])
    copy = pickle.loads(pickle.dumps(memory))
    assert copy.digest == memory.digest


def test_bad_arguments_are_named(tmp_path: Path, memory: TraceMemory) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'other'"):
        memory.search(["a"], ["b"], scope="othr")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="top_k"):
        memory.search(["a"], ["b"], top_k=0)
    with pytest.raises(ConfigError, match="as many of each"):
        memory.search(["a"], [])
    with pytest.raises(ConfigError, match="pairs"):
        memory.remember([RIGHT])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"memory\.json"):
        TraceMemory.open(tmp_path / "nowhere", create=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        TraceMemory.open(tmp_path / "file", "hashing")
    assert memory.search([], []) == []


def test_ids_of_databases() -> None:
    assert (
        database_id("pets_1")
        == database_id("a/pets_1/pets_1.sqlite")
        == database_id(("pets_1", "x"))
        == "pets_1"
    )
    assert database_id("v1.2") == "v1.2"


def test_lone_surrogates_are_kept(tmp_path: Path) -> None:
    with TraceMemory.open(tmp_path, "hashing", durable=False) as memory:
        memory.remember([observed(thought("alpha") + "\ud800")])
    assert TraceMemory.open(tmp_path).traces()[0].text.endswith("\ud800")


def test_a_trace_keeps_what_an_older_or_newer_release_did_not_know() -> None:
    assert Trace.from_record({"text": "a", "db": "b", "colour": "red"}) == Trace("a", "b")


def test_nothing_heavy_is_imported_before_a_memory_is_opened() -> None:
    code = (
        "import sys, finer_rewards.memory;"
        "print([name for name in ('numpy', 'faiss', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("spec", ["http://127.0.0.1:9/v1#m", "/somewhere/model", "owner/model", "./model"])
def test_a_folder_does_not_choose_what_is_asked_or_loaded(tmp_path: Path, spec: str, capsys) -> None:
    from finer_rewards.cli import main

    with TraceMemory.open(tmp_path, "hashing:64", durable=False) as memory:
        memory.remember([observed(thought("alpha"))])
    manifest = tmp_path / "memory.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"spec": spec}))
    with pytest.raises(ConfigError, match=r"pass embedder="):
        TraceMemory.open(tmp_path, create=False)
    assert main(["memory", "search", str(tmp_path), "what table"]) == 2
    assert repr(spec) in capsys.readouterr().err
    # Reading what is in it needs no embedder, and whoever names one has chosen it.
    assert main(["memory", "stats", str(tmp_path)]) == 0
    assert main(["memory", "export", str(tmp_path), str(tmp_path / "traces.jsonl")]) == 0
    assert len(TraceMemory.open(tmp_path, "hashing:64", create=False)) == 1
    assert main(["memory", "search", str(tmp_path), "what table", "--embedder", "hashing:64"]) == 0
