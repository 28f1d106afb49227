"""`RemoteMemory`, the client of a trace memory on another machine (`finer-rewards serve --memory`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from finer_rewards.errors import ConfigError
from finer_rewards.memory.gate import AdmissionReport, Decision, scored_pairs
from finer_rewards.memory.searching import Asked, MemoryElsewhere, MemoryLostError, Scope
from finer_rewards.remote.client import ServerBacked, ServerLostError, first_batch
from finer_rewards.remote.wire import recall_from
from finer_rewards.types import Evidence, Recall, Sample, Score

# The most thoughts or samples in one request; a server accepts as many by default.
_BATCH = 4096
# What the parts of `Asked` are called in a request.
_FIELDS = ("thoughts", "dbs", "questions", "sqls")
# Seconds that a whole answer may take: embedding a batch takes long, and `timeout` only ends a silence.
_LONGEST = 600.0


class RemoteMemory(ServerBacked, MemoryElsewhere):
    """The `TraceMemory` of a server started with `finer-rewards serve --memory`, shared by all its clients.

    A search sees the traces that were there at the last `snapshot()` of any client; new traces wait until then, so that
    no client's score depends on when another client writes. If the server is lost, the status is
    `Status.memory_unavailable`: the sample is not scored.

    Args:
        url: the address of the server, such as `"http://node-1:8000"`.
        token: the server's token, if it has one.
        timeout: seconds without a sign of life after which the server counts as lost.
        patience: seconds to keep trying when it cannot be reached or is busy.

    Raises:
        ConfigError: an argument cannot be used; later, when the server refuses it or the token.

    Example:
        >>> RemoteMemory("http://127.0.0.1:1", patience=0.1).search(["Count."], ["concert"])[0].status.name
        'memory_unavailable'
    """

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> AdmissionReport:
        """Offer samples to the memory; see `TraceMemory.remember`.

        Only the samples are sent. The server scores them itself and decides by its own result, so that nobody can
        plant a trace that was not verified; the trace gets the server's signature, and `signature` is ignored. If the
        server is lost, the samples that it has not answered are refused with that reason, and can be offered again.

        Raises:
            ConfigError: an item is not such a pair, or the server refuses the request.
        """
        del signature
        samples = [evidence.sample for evidence, _ in scored_pairs(scored)]
        decisions: list[Decision] = []
        try:
            while len(decisions) < len(samples):
                rest = samples[len(decisions) : len(decisions) + _BATCH]
                batch = first_batch(rest, [len(one.completion) + 1000 for one in rest])
                payload = {"samples": list(map(_plain, batch)), "model": model, "step": step}
                answer = self._client.post("/memory/remember", payload, within=_LONGEST)
                decisions += [Decision(**decision) for decision in answer["decisions"]]
        except ServerLostError as error:
            decisions += [Decision(refused=str(error))] * (len(samples) - len(decisions))
        return AdmissionReport(tuple(decisions))

    def snapshot(self) -> str:
        """Let the searches of all clients see the traces stored until now; return the digest.

        Raises:
            ConfigError: the server was lost.
        """
        return str(self._tell("POST", "/memory/snapshot")["digest"])

    def describe(self) -> Mapping[str, object]:
        """Return what determines a score, for the signature, from the server's memory.

        Raises:
            ConfigError: the server was lost, or has no memory.
        """
        described: Mapping[str, object] | None = self._tell("GET", "/describe")["memory"]
        if described is None:
            raise ConfigError(
                f"`RemoteMemory(url)` should be a server with a memory, but {self.url} has none. "
                "Start it with `finer-rewards serve --memory FOLDER`."
            )
        return described

    def _recalls(self, asked: Sequence[Asked], top_k: int, scope: Scope) -> Iterator[Recall]:
        while asked:
            batch = first_batch(
                asked,
                [len(thought) + len(question) + len(sql) for thought, _, question, sql in asked[:_BATCH]],
            )
            payload = {
                **{name: [one[place] for one in batch] for place, name in enumerate(_FIELDS)},
                "top_k": top_k,
                "scope": scope,
            }
            try:
                answer = self._client.post("/memory/search", payload, within=_LONGEST)
            except ServerLostError as error:
                raise MemoryLostError(str(error)) from None
            try:
                recalls = [recall_from(one) for _, one in zip(batch, answer["recalls"], strict=True)]
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise MemoryLostError(f"{self.url} answered nonsense: {error!r:.200}") from None
            yield from recalls
            asked = asked[len(batch) :]

    def _tell(self, method: str, path: str) -> Any:
        try:
            return self._client.get(path) if method == "GET" else self._client.post(path, {})
        except ServerLostError as error:
            raise self._lost(error) from None


def _plain(sample: Sample) -> dict[str, Any]:
    question = sample.meta.get("question_id")
    return {
        "completion": sample.completion,
        "gold": sample.gold,
        "db": sample.db,
        "question": sample.question,
        "dialect": sample.dialect,
        "answer": sample.answer,
        "meta": {"question_id": str(question)} if question else {},
    }
