"""The driver's end of LIMIT counters."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence

from daft_k8s.handles.limit import LimitCounterHandle
from daft_k8s.seam.limit_counter import LimitCounter
from daft_k8s.wire.calls import (
    ClaimRows,
    Done,
    LimitStarted,
    RowsGranted,
    StartLimit,
    TaskRestarts,
)

_collector = threading.local()


@contextlib.contextmanager
def collect_pickled_counters() -> Iterator[list[DriverLimitHandle]]:
    """Lists the counters whose handles this thread pickles meanwhile, i.e. those that a plan uses."""
    outer = getattr(_collector, "handles", None)
    handles: list[DriverLimitHandle] = []
    _collector.handles = handles
    try:
        yield handles
    finally:
        _collector.handles = outer


class DriverLimitHandle(LimitCounterHandle):
    """The handle that Daft's scheduler holds: the counter itself lives in it, on the event loop."""

    def __init__(self, counter_id: str, counter: LimitCounter, on_teardown: Callable[[str], None]) -> None:
        super().__init__(counter_id)
        self.counter = counter
        self._on_teardown = on_teardown
        self._loop = asyncio.get_running_loop()
        self._completed = asyncio.Event()
        self.refresh()

    def __reduce__(self) -> tuple[Callable[..., LimitCounterHandle], tuple[str]]:
        handles = getattr(_collector, "handles", None)
        if handles is not None and self not in handles:
            handles.append(self)
        return super().__reduce__()

    def refresh(self) -> None:
        """Wakes `await_limit_completion` once the limit is reached."""
        if self.counter.is_done():
            self._completed.set()

    async def await_limit_completion(self) -> list[str]:
        """Stays pending until the limit is reached; returns the ids of the tasks that keep rows."""
        await self._completed.wait()
        return self.counter.contributors()

    def release(self) -> None:
        """Ends a wait whose result is not needed any more; asyncio would complain of it later."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._completed.set)

    def teardown(self) -> None:
        """Daft is done with the counter. It is kept until its query ends: a task may still run again."""
        self.release()
        self._on_teardown(self.counter_id)


class LimitCounters:
    """All counters of a session. Workers' calls come on the event loop, the others on any thread."""

    def __init__(self) -> None:
        self._live: dict[str, DriverLimitHandle] = {}
        self._of_query: dict[str, set[str]] = {}
        self._bound: set[str] = set()
        self._lock = threading.Lock()

    def create(self, limit: int, offset: int) -> DriverLimitHandle:
        """Makes a counter, on the event loop. It lives until its query ends, or Daft is done with it unused."""
        handle = DriverLimitHandle(uuid.uuid4().hex, LimitCounter(limit, offset), self._drop_if_unused)
        with self._lock:
            self._live[handle.counter_id] = handle
        return handle

    def bind(self, query_id: str, handles: Sequence[DriverLimitHandle]) -> None:
        """Keeps counters until `end_query`, because tasks of that query use them."""
        if handles:
            with self._lock:
                # A task may be submitted a moment after its query was cancelled: what has ended stays so.
                ids = {handle.counter_id for handle in handles if handle.counter_id in self._live}
                if ids:
                    self._of_query.setdefault(query_id, set()).update(ids)
                    self._bound |= ids

    def end_query(self, query_id: str) -> None:
        """Forgets the counters of a query."""
        with self._lock:
            ids = self._of_query.pop(query_id, set())
            self._bound -= ids
            ended = [handle for handle in (self._live.pop(counter_id, None) for counter_id in ids) if handle]
        for handle in ended:
            handle.release()

    def close(self) -> None:
        """Forgets all counters."""
        with self._lock:
            ended = list(self._live.values())
            self._live.clear()
            self._of_query.clear()
            self._bound.clear()
        for handle in ended:
            handle.release()

    def __len__(self) -> int:
        return len(self._live)

    def _drop_if_unused(self, counter_id: str) -> None:
        with self._lock:
            if counter_id not in self._bound:
                self._live.pop(counter_id, None)

    def start(self, worker_id: str, request: StartLimit) -> LimitStarted:
        """Begins a run of a task."""
        return LimitStarted(self._find(request.counter_id).counter.start(request.input_id, worker_id))

    def claim(self, _worker_id: str, request: ClaimRows) -> RowsGranted:
        """Grants a task rows of a piece."""
        handle = self._find(request.counter_id)
        granted = handle.counter.claim(request.input_id, request.epoch, request.num_rows)
        handle.refresh()
        return RowsGranted(*granted)

    def restart(self, worker_id: str, request: TaskRestarts) -> Done:
        """A task runs again: for each counter of its query, the rows of its last run count as missing."""
        with self._lock:
            handles = [self._live[counter_id] for counter_id in self._of_query.get(request.query_id, ())]
        for handle in handles:
            handle.counter.restart(request.input_id, worker_id)
        return Done()

    def _find(self, counter_id: str) -> DriverLimitHandle:
        with self._lock:
            handle = self._live.get(counter_id)
        if handle is None:
            raise LookupError("the query of this LIMIT has ended")
        return handle
