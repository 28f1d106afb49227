"""What the server counts, in the text format that Prometheus reads from `/metrics`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)

_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and one histogram; any thread may add to them.

    Example:
        >>> metrics = Metrics()
        >>> metrics.add("samples", 2, status="ok")
        >>> print(metrics.text({}).splitlines()[1])
        finer_rewards_samples_total{status="ok"} 2
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, _Labels]] = Counter()
        #: For each path: a count for each bucket, then the count and the sum of all.
        self._seconds: dict[str, list[float]] = {}

    def add(self, name: str, count: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += count  # type: ignore[assignment]

    def took(self, path: str, seconds: float) -> None:
        """Add a request to the histogram of seconds."""
        with self._lock:
            found = self._seconds.setdefault(path, [0.0] * (len(_BUCKETS) + 2))
            for place, bucket in enumerate(_BUCKETS):
                found[place] += seconds <= bucket
            found[-2] += 1
            found[-1] += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return everything counted, and the gauges given, in Prometheus's text format 0.0.4."""
        with self._lock:
            counts = sorted(self._counts.items())
            seconds = {path: list(found) for path, found in sorted(self._seconds.items())}
        lines: list[str] = []
        for name in dict.fromkeys(name for (name, _), _ in counts):
            lines.append(f"# TYPE finer_rewards_{name}_total counter")
            lines += [
                f"finer_rewards_{name}_total{_braced(labels)} {count:g}"
                for (one, labels), count in counts
                if one == name
            ]
        if seconds:
            lines.append("# TYPE finer_rewards_request_seconds histogram")
        for path, found in seconds.items():
            ends = [*(f"{bucket:g}" for bucket in _BUCKETS), "+Inf"]
            for end, count in zip(ends, found, strict=False):
                labels = (("path", path), ("le", end))
                lines.append(f"finer_rewards_request_seconds_bucket{_braced(labels)} {count:g}")
            lines.append(f"finer_rewards_request_seconds_sum{_braced([('path', path)])} {found[-1]:g}")
            lines.append(f"finer_rewards_request_seconds_count{_braced([('path', path)])} {found[-2]:g}")
        for name, value in gauges.items():
            lines += [f"# TYPE finer_rewards_{name} gauge", f"finer_rewards_{name} {value:.17g}"]
        return "\n".join(lines) + "\n"


def resident_bytes(process_ids: Iterable[int | str]) -> int:
    """Return the bytes of memory that the processes hold; a process that has ended holds none."""
    pages = 0
    for process_id in process_ids:
        try:
            pages += int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return pages * _page_size()


def _page_size() -> int:
    import resource

    return resource.getpagesize()


def _braced(labels: Iterable[tuple[str, str]]) -> str:
    # Labels are names of statuses and paths of this server, so nothing in them needs escaping.
    shown = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{shown}}}" if shown else ""
