"""The LIMIT counter: exact under any interleaving and any restarts, and strict with outdated runs.

Not covered here: the calls from a worker's process to the driver (tests/local).
"""

from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.seam.limit import DriverLimitHandle, LimitCounterHandle, LimitCounters, collect_pickled_counters
from daft_k8s.seam.limit_counter import LimitCounter, StaleClaimError
from daft_k8s.wire.calls import ClaimRows, Done, RowsGranted, StartLimit, TaskRestarts


class Task:
    """A task whose rows pass a LIMIT piece by piece, possibly in several runs."""

    def __init__(self, name: str, pieces: list[int], counter: LimitCounter) -> None:
        self.name, self.pieces, self.counter = name, pieces, counter
        self.begin()

    def begin(self) -> None:
        self.position = 0
        self.skipped = self.kept = 0
        self.epoch = self.counter.start(self.name)

    def step(self) -> bool:
        if self.position == len(self.pieces):
            return False
        rows = self.pieces[self.position]
        skip, take, _ = self.counter.claim(self.name, self.epoch, rows)
        assert skip >= 0 and take >= 0 and skip + take <= rows
        self.skipped += skip
        self.kept += take
        self.position += 1
        return True


@given(
    limit=st.integers(0, 40),
    offset=st.integers(0, 40),
    tasks=st.lists(st.lists(st.integers(0, 15), max_size=6), max_size=6),
    schedule=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=80),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_exactly_the_limit_is_kept_for_any_interleaving_and_any_restarts(
    limit: int, offset: int, tasks: list[list[int]], schedule: list[tuple[int, int]], cuts: list[int]
) -> None:
    counter = LimitCounter(limit, offset)
    running = [Task(str(number), pieces, counter) for number, pieces in enumerate(tasks)]
    for number, action in schedule:
        if number < len(running):
            task = running[number]
            if action == 0:
                # A new run may cut the same rows into other pieces.
                task.pieces = cut(sum(task.pieces), cuts)
                task.begin()
            else:
                task.step()
        assert sum(task.kept for task in running) <= limit
    for task in running:
        while task.step():
            pass
    total = sum(sum(task.pieces) for task in running)
    assert sum(task.kept for task in running) == min(limit, max(0, total - offset))
    if sum(task.kept for task in running) < limit:
        assert sum(task.skipped for task in running) == min(offset, total)
    for task in running:
        assert counter.missing_rows(task.name, "") == 0
    assert set(counter.contributors()) == {task.name for task in running if task.kept}
    assert counter.is_done() == (sum(task.kept for task in running) == limit)


def cut(rows: int, sizes: list[int]) -> list[int]:
    pieces: list[int] = []
    while rows > 0:
        pieces.append(min(rows, sizes[len(pieces) % len(sizes)]))
        rows -= pieces[-1]
    return pieces


def test_a_restart_gets_its_own_rows_back_although_others_took_the_rest() -> None:
    counter = LimitCounter(10, 3)
    first = counter.start("1")
    assert counter.claim("1", first, 8) == (3, 5, False)
    other = counter.start("2")
    assert counter.claim("2", other, 100) == (0, 5, True)
    again = counter.start("1")
    assert counter.claim("1", again, 4) == (3, 1, False)
    assert counter.claim("1", again, 100) == (0, 4, True)
    assert counter.contributors() == ["1", "2"]


def test_an_outdated_run_is_refused() -> None:
    counter = LimitCounter(10, 0)
    outdated = counter.start("1")
    counter.start("1")
    with pytest.raises(StaleClaimError, match="task 1 was started again"):
        counter.claim("1", outdated, 5)


def test_a_claim_without_a_start_is_refused() -> None:
    with pytest.raises(StaleClaimError):
        LimitCounter(10, 0).claim("1", 1, 5)


def test_a_new_run_with_fewer_rows_is_noticed() -> None:
    counter = LimitCounter(10, 0)
    counter.claim("1", counter.start("1", "worker-0"), 6)
    assert counter.missing_rows("1", "worker-0") == 0
    counter.claim("1", counter.start("1", "worker-1"), 4)
    assert counter.missing_rows("1", "worker-1") == 2


def test_a_new_run_that_never_reached_the_limit_is_noticed() -> None:
    counter = LimitCounter(10, 0)
    counter.claim("1", counter.start("1", "worker-0"), 6)
    assert counter.missing_rows("1", "worker-1") == 6
    assert counter.missing_rows("2", "worker-1") == 0


def test_a_new_run_that_never_reached_the_limit_on_the_same_worker_is_noticed() -> None:
    counter = LimitCounter(10, 0)
    counter.claim("1", counter.start("1", "worker-0"), 6)
    counter.restart("1", "worker-0")
    assert counter.missing_rows("1", "worker-0") == 6
    assert counter.claim("1", counter.start("1", "worker-0"), 6) == (0, 6, False)
    assert counter.missing_rows("1", "worker-0") == 0


def test_a_restart_of_a_task_without_rows_changes_nothing() -> None:
    counter = LimitCounter(10, 0)
    counter.restart("1", "worker-0")
    assert counter.missing_rows("1", "worker-0") == 0
    with pytest.raises(StaleClaimError):
        counter.claim("1", 1, 5)


def test_an_announced_restart_counts_for_the_counters_of_its_query_alone() -> None:
    async def scenario() -> None:
        counters = LimitCounters()
        mine, other = counters.create(5, 0), counters.create(5, 0)
        counters.bind("query", [mine])
        counters.bind("another query", [other])
        for handle in (mine, other):
            claim(counters, handle, "1", start(counters, handle, "1"), 4)
        for query in ("query", "a query that has ended"):
            counters.restart("worker-0", TaskRestarts(query, "1"))
        assert mine.counter.missing_rows("1", "worker-0") == 4
        assert other.counter.missing_rows("1", "worker-0") == 0

    asyncio.run(scenario())


def start(counters: LimitCounters, handle: DriverLimitHandle, input_id: str) -> int:
    return counters.start("worker-0", StartLimit(handle.counter_id, input_id)).epoch


def claim(counters: LimitCounters, handle: DriverLimitHandle, input_id: str, epoch: int, num_rows: int) -> RowsGranted:
    return counters.claim("worker-0", ClaimRows(handle.counter_id, input_id, epoch, num_rows))


def test_waiting_for_the_limit_ends_when_a_worker_claims_the_last_row() -> None:
    async def scenario() -> list[str]:
        counters = LimitCounters()
        handle = counters.create(5, 0)
        waiting = asyncio.ensure_future(handle.await_limit_completion())
        epoch = start(counters, handle, "7")
        assert claim(counters, handle, "7", epoch, 4) == RowsGranted(0, 4, False)
        await asyncio.sleep(0)
        assert not waiting.done()
        assert claim(counters, handle, "7", epoch, 4) == RowsGranted(0, 1, True)
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(scenario()) == ["7"]


def test_a_limit_of_no_rows_is_reached_at_once() -> None:
    async def scenario() -> list[str]:
        return await asyncio.wait_for(LimitCounters().create(0, 3).await_limit_completion(), 5)

    assert asyncio.run(scenario()) == []


def test_a_counter_outlives_its_teardown_until_its_query_ends() -> None:
    async def scenario() -> None:
        counters = LimitCounters()
        handle, unused = counters.create(5, 0), counters.create(5, 0)
        counters.bind("query", [handle])
        handle.teardown()
        unused.teardown()
        assert len(counters) == 1
        assert start(counters, handle, "1") == 1
        counters.end_query("query")
        with pytest.raises(LookupError, match="has ended"):
            start(counters, handle, "1")

    asyncio.run(scenario())


def test_a_task_that_is_submitted_after_its_query_has_ended_keeps_no_counter() -> None:
    async def scenario() -> None:
        counters = LimitCounters()
        handle = counters.create(5, 0)
        counters.bind("query", [handle])
        counters.end_query("query")
        counters.bind("query", [handle])
        assert counters.restart("worker-0", TaskRestarts("query", "1")) == Done()
        assert len(counters) == 0

    asyncio.run(scenario())


def test_nobody_waits_for_ever_for_a_counter_that_is_torn_down() -> None:
    async def scenario() -> None:
        counters = LimitCounters()
        handle = counters.create(5, 0)
        waiting = asyncio.ensure_future(handle.await_limit_completion())
        await asyncio.sleep(0)
        counters.close()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scenario())


def test_pickling_a_plan_tells_which_counters_it_uses_and_sends_only_their_names() -> None:
    async def scenario() -> None:
        handle = LimitCounters().create(5, 0)
        with collect_pickled_counters() as counters:
            copy = pickle.loads(pickle.dumps([handle, handle]))[0]
        assert counters == [handle]
        assert type(copy) is LimitCounterHandle
        assert copy.counter_id == handle.counter_id

    asyncio.run(scenario())
