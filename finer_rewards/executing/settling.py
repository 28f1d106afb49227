"""Comparing results that are too large to send to this process. It takes up to three steps, each for what is left.

1. Decide from what is known: row counts, first rows and fingerprints (`comparing/partial_results.py`).
2. Have the rest of the rows read in a worker, which sends back only a fingerprint of all rows, and decide again.
3. Have a worker run both statements and compare the rows there (`comparing_in_worker.py`).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields, replace
from hashlib import blake2s
from typing import TYPE_CHECKING, Any

from finer_rewards._util.lru import LRU
from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing import Comparison, Mode
from finer_rewards.comparing.partial_results import ResultPair, equates, needs_rows, settled, with_fingerprint
from finer_rewards.comparing.result import Settled
from finer_rewards.executing.order_probe import Probe
from finer_rewards.executing.process import Task
from finer_rewards.types import Execution, Status

if TYPE_CHECKING:
    from finer_rewards.executing.pooled import DatabaseState

# A worker that compares runs three statements: the gold, the probe for its sort keys, and the prediction.
_STAGES = 3
# About how many bytes a kept outcome takes: it holds a few rows.
_WEIGHT = 4096
_Scan = tuple[str, str]  # (database, statement)


class Settler:
    """Settles pairs of one executor.

    Args:
        run: runs tasks until each has its answer.
        look: returns a database with its present state, or the execution that says why it cannot be used.
        probes: returns the statements that show the sort keys of a query.
        executed: turns a finished task into an execution.
        timeout: seconds that a statement may take.
        kept: the cache of earlier outcomes.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Task]], None],
        look: Callable[[str], DatabaseState | Execution],
        probes: Callable[[str], Sequence[Probe]],
        executed: Callable[[Task], Execution],
        timeout: float,
        kept: LRU[Any],
    ) -> None:
        self._run, self._look, self._probes = run, look, probes
        self._executed, self._timeout, self._kept = executed, timeout, kept
        self._databases: dict[str, DatabaseState | Execution] = {}

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Return the outcome of each pair, in order."""
        found: dict[int, Settled] = {}
        for index, pair in enumerate(pairs):
            comparison = settled(pair)
            if comparison is not None:
                found[index] = Settled(comparison)
            elif needs_rows(pair.mode):
                found[index] = Settled(None, reason=f"the mode {pair.mode.name} needs all rows here")
        left = {index: pair for index, pair in enumerate(pairs) if index not in found}
        left = self._scanned(left)
        for index, pair in left.items():
            comparison = settled(pair)
            if comparison is not None:
                found[index] = Settled(comparison)
        left = {index: pair for index, pair in left.items() if index not in found}
        found |= self._compared(left)
        return [found[index] for index in range(len(pairs))]

    def _scanned(self, pairs: dict[int, ResultPair]) -> dict[int, ResultPair]:
        """Return the pairs with fingerprints of all rows where these were cut off: of golds first, then of predictions.

        A prediction need not be read further than its gold is long, so the golds' lengths have to be known first.
        """
        golds = {index: _scan(pair, pair.gold, pair.gold_ran) for index, pair in pairs.items()}
        scans = self._scan(dict.fromkeys(scan for scan in golds.values() if scan is not None))
        pairs = {
            index: replace(pair, gold=_mended(pair.gold, scans.get(golds[index])))
            for index, pair in pairs.items()
        }
        predicted = {
            index: _scan(pair, pair.predicted, pair.predicted_ran)
            for index, pair in pairs.items()
            if not pair.gold.truncated or pair.gold.fingerprint is not None
        }
        enough: dict[_Scan, int] = {}
        counted = True
        for index, scan in predicted.items():
            if scan is not None:
                how, known = equates(pairs[index]), pairs[index].gold.fingerprint
                counted = counted and how is not None and how.counted
                rows = len(pairs[index].gold.rows) if known is None else known.length
                enough[scan] = max(rows, enough.get(scan, 0))
        ends = ":counted" if counted else ""
        scans = self._scan({scan: f":{most}{ends}" for scan, most in enough.items()})
        return {
            index: replace(pair, predicted=_mended(pair.predicted, scans.get(predicted.get(index))))
            for index, pair in pairs.items()
        }

    def _scan(self, asked: Mapping[_Scan, str | None]) -> dict[_Scan | None, Execution]:
        """Have statements read to their end, or to the number of rows given with each, and return the fingerprints."""
        found: dict[_Scan | None, Execution] = {}
        tasks: dict[_Scan, Task] = {}
        for scan, most in asked.items():
            known = self._kept.get(self._key(*scan))
            if known is not None:
                found[scan] = known
            elif (task := self._task(f"scan{most or ''}", *scan)) is not None:
                tasks[scan] = task
        self._run(list(tasks.values()))
        for scan, task in tasks.items():
            run = found[scan] = self._executed(task)
            if run.ok and not run.volatile and run.fingerprint is not None and run.fingerprint.complete:
                self._keep(self._key(*scan), run)
        return found

    def _compared(self, pairs: dict[int, ResultPair]) -> dict[int, Settled]:
        """Have workers run both statements of each pair and compare them."""
        tasks: dict[int, Task] = {}
        found: dict[int, Settled] = {}
        known: dict[tuple[str, bytes], Task] = {}
        keys: dict[int, Hashable] = {}
        for index, pair in pairs.items():
            request = marshal.dumps(self._request(pair))
            keys[index] = self._key(pair.db, blake2s(request).digest())
            before = self._kept.get(keys[index])
            if before is not None:
                found[index] = before
                continue
            task = known.get((pair.db, request)) or self._task("compare", pair.db, request)
            if task is None:
                found[index] = Settled(None, reason="the database is gone")
            else:
                task.stages = _STAGES
                tasks[index] = known[pair.db, request] = task
        self._run(list(known.values()))
        for index, task in tasks.items():
            assert task.answer is not None
            status, _, chunks, _, error, *_ = task.answer
            if status == "ok":
                given, swapped, ambiguous = marshal.loads(chunks[0])
                found[index] = Settled(Comparison(*given), swapped, ambiguous)
                if not (pairs[index].gold.volatile or pairs[index].predicted.volatile):
                    self._keep(keys[index], found[index])
            else:
                found[index] = Settled(None, reason=Status[status].told(error))
        return found

    def _request(self, pair: ResultPair) -> tuple[Any, ...]:
        """Return the request that `comparing_in_worker.py` describes."""
        gold: tuple[Any, ...] = (pair.gold.columns, pair.gold.rows, pair.gold.order)
        if pair.gold.truncated:
            ran = normalise(pair.gold_ran)
            shown = [
                (one.sql, [tuple(vars(key).values()) for key in one.keys], one.limit, one.text_by_bytes)
                for one in self._probes(ran)
            ]
            gold = (ran, shown)
        mode = {one.name: getattr(pair.mode, one.name) for one in fields(Mode)}
        how = equates(pair)
        texts = (normalise(pair.predicted_ran), pair.gold_sql, pair.predicted_sql, pair.question)
        return mode, gold, *texts, how is not None and how.counted

    def _database(self, db: str) -> DatabaseState | Execution:
        database = self._databases.get(db)
        if database is None:
            database = self._databases[db] = self._look(db)
        return database

    def _key(self, db: str, what: str | bytes) -> Hashable:
        """Return the cache key of something on a database; it changes with the content.

        `None`, and nothing is kept, for a database whose changes cannot be noticed.
        """
        database = self._database(db)
        if isinstance(database, Execution) or database.request[0] is None:
            return None
        return database.place, database.identity, what

    def _keep(self, key: Hashable, value: Execution | Settled) -> None:
        if key is not None:
            self._kept.put(key, value, _WEIGHT)

    def _task(self, kind: str, db: str, sql: Any) -> Task | None:
        database = self._database(db)
        return None if isinstance(database, Execution) else Task(kind, database.request, sql, self._timeout)


def _scan(pair: ResultPair, run: Execution, ran: str) -> _Scan | None:
    """Return the statement to read to its end for one side of a pair; `None` where that would tell nothing new."""
    known = run.fingerprint
    if equates(pair) is None or not run.truncated or (known is not None and known.complete):
        return None
    return pair.db, normalise(ran)


def _mended(run: Execution, scan: Execution | None) -> Execution:
    return run if scan is None or not scan.ok else with_fingerprint(run, scan)
