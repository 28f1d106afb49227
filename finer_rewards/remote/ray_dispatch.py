"""Distributing a batch over the nodes of a Ray cluster: a node that is done gets the next part; lost parts go on."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from finer_rewards.executing.stopping import STOP, StoppedError

# A part of a batch is given up after so many nodes were lost while they worked on it.
_TRIES = 3
# Seconds between two checks whether a node is alive.
HEARTBEAT_S = 5.0
# A call that can be stopped checks this often (seconds) whether it was.
_LISTEN = 0.05


class Dispatch:
    """One batch being distributed: the parts that wait, those that run, and the results so far.

    Args:
        ray: the package, connected.
        nodes: node id -> actor.
        what: the actors' method that does a part.
        asked: the items of the batch.
        parts: for each part the indices of its items.
        lost: takes a reason and returns the result of an item that no node could do.
        patience: seconds after which a node that does not answer counts as lost.
        drop: called with the id of such a node.
    """

    def __init__(
        self,
        ray: Any,
        nodes: dict[str, Any],
        what: str,
        asked: Sequence[Any],
        parts: Sequence[range],
        lost: Callable[[str], Any],
        patience: float,
        drop: Callable[[str], None],
    ) -> None:
        self.ray = ray
        self.nodes = dict(nodes)
        self.what, self.asked, self.lost = what, asked, lost
        self.waiting = deque((part, 0) for part in parts)
        self.running: dict[Any, tuple[str, range, int]] = {}
        self.found: dict[int, Any] = {}
        self.patience = patience
        self.drop = drop
        self.pulses: dict[str, tuple[Any, float]] = {}
        self.call = uuid4().hex
        self.stop = STOP.get()

    def run(self) -> dict[int, Any]:
        """Return index of each item -> its result."""
        while self.waiting or self.running:
            self._hand_out()
            if not self.running:
                self._give_up([part for part, _ in self.waiting], "no Ray node is left")
                break
            done = self._hear()
            for reference in done:
                self._take(reference)
            if not done:
                self._feel_pulses()
        return self.found

    def _hear(self) -> list[Any]:
        """Return what has finished, or nothing after `HEARTBEAT_S`; tell the nodes when the call is stopped."""
        end = time.monotonic() + HEARTBEAT_S
        while True:
            pause = HEARTBEAT_S if self.stop is None else _LISTEN
            done: list[Any] = self.ray.wait(list(self.running), num_returns=1, timeout=pause)[0]
            if self.stop is not None and self.stop.is_set():
                for actor in self.nodes.values():
                    actor.stop.options(concurrency_group="pulse").remote(self.call)
                raise StoppedError
            if done or time.monotonic() > end:
                return done

    def _hand_out(self) -> None:
        """Give waiting parts to the nodes with the fewest, until every node has two: one to do and one in reserve."""
        loads = Counter(node for node, _, _ in self.running.values())
        while self.waiting and self.nodes:
            node = min(self.nodes, key=lambda one: loads[one])
            if loads[node] >= 2:
                return
            part, tries = self.waiting.popleft()
            loads[node] += 1
            work = [self.asked[place] for place in part]
            self.running[getattr(self.nodes[node], self.what).remote(self.call, work)] = node, part, tries

    def _take(self, reference: Any) -> None:
        node, part, tries = self.running.pop(reference)
        try:
            self.found |= zip(part, self.ray.get(reference, timeout=self.patience), strict=True)
        except self.ray.exceptions.RayTaskError as error:
            self._give_up([part], f"the executor on node {node[:12]} failed: {error.cause!r:.300}")
        except self.ray.exceptions.RayError as error:
            self._lose(node)
            self._again(part, tries, f"node {node[:12]} was lost: {type(error).__name__}")

    def _feel_pulses(self) -> None:
        """Check whether the nodes are alive; those that have not answered for too long are lost with their parts."""
        now = time.monotonic()
        for node, actor in list(self.nodes.items()):
            reference, asked = self.pulses.get(node, (None, 0.0))
            if reference is None:
                self.pulses[node] = actor.pulse.options(concurrency_group="pulse").remote(), now
            elif self.ray.wait([reference], timeout=0)[0]:
                del self.pulses[node]
            elif now - asked > self.patience:
                self._lose(node)
        for reference, (node, part, tries) in list(self.running.items()):
            if node not in self.nodes:
                del self.running[reference]
                self._again(part, tries, f"node {node[:12]} did not answer for {self.patience:g} s")

    def _lose(self, node: str) -> None:
        self.nodes.pop(node, None)
        self.drop(node)

    def _again(self, part: range, tries: int, why: str) -> None:
        if tries + 1 < _TRIES:
            self.waiting.appendleft((part, tries + 1))
        else:
            self._give_up([part], why)

    def _give_up(self, parts: Sequence[range], why: str) -> None:
        for part in parts:
            self.found |= dict.fromkeys(part, self.lost(why))
