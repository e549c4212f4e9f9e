"""When the success of a task that shares a pipeline is true: every interleaving of ends, against a fake executor.

The fake has the faults of Daft's executor (see `daft_k8s.worker.pipeline_group`). That Daft's own behaves
alike is tested in `test_real_executor.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from daft_k8s.worker.pipeline_group import PipelineFailedError, PipelineGroups, PipelineMember

KEY = ("query", 7, "plan-hash")
SECONDS = 10


@dataclass
class FakePlan:
    error: Exception | None = None
    active: set[str] = field(default_factory=set)
    streams_dropped: bool = False
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def begin_to_die(self, error: Exception) -> None:
        """Streams end from here on, but inputs are still queued."""
        self.error, self.streams_dropped = error, True

    def die(self, error: Exception) -> None:
        self.begin_to_die(error)
        self.dead.set()


class FakeExecutor:
    """Keeps plans as Daft's executor does: who finishes last, or first after a death, removes them."""

    def __init__(self) -> None:
        self.plans: dict[int, FakePlan] = {}
        self.cancelled: list[int] = []
        self.probes = 0

    async def start(self, request: str, pipeline_id: int) -> FakeStream:
        plan = self.plans.setdefault(pipeline_id, FakePlan())
        plan.active.add(request)
        if plan.dead.is_set():
            raise RuntimeError("Plan execution task has died; cannot enqueue new input")
        return FakeStream(self, pipeline_id, request)

    async def probe(self, request: str, pipeline_id: int) -> None:
        self.probes += 1
        plan = self.plans[pipeline_id]
        if plan.streams_dropped:
            await plan.dead.wait()
            raise RuntimeError("Plan execution task has died; cannot enqueue new input")

    def cancel(self, pipeline_id: int) -> None:
        if self.plans.pop(pipeline_id, None) is not None:
            self.cancelled.append(pipeline_id)


class FakeStream:
    def __init__(self, executor: FakeExecutor, pipeline_id: int, request: str) -> None:
        self._executor, self._pipeline_id, self._request = executor, pipeline_id, request

    async def next(self) -> None:
        return None

    async def try_finish(self) -> str:
        plan = self._executor.plans.get(self._pipeline_id)
        if plan is None:
            return "empty statistics"
        plan.active.discard(self._request)
        if plan.active and not plan.dead.is_set():
            return "statistics"
        del self._executor.plans[self._pipeline_id]
        if plan.streams_dropped:
            await plan.dead.wait()
        if plan.error is not None:
            raise plan.error
        return "statistics"


class Stage:
    """Tasks of one shared pipeline."""

    def __init__(self) -> None:
        self.executor = FakeExecutor()
        self.groups: PipelineGroups[str] = PipelineGroups(self.executor)

    def join(self, name: str, key: object = KEY) -> PipelineMember[str]:
        return self.groups.join(name, fingerprint=7, shared_key=key)

    async def started(self, *names: str) -> list[tuple[PipelineMember[str], Any]]:
        members = [self.join(name) for name in names]
        return [(member, await member.start()) for member in members]

    @property
    def plan(self) -> FakePlan:
        (plan,) = self.executor.plans.values()
        return plan


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, SECONDS))


def test_tasks_of_one_plan_share_a_pipeline_and_all_succeed() -> None:
    async def test() -> None:
        stage = Stage()
        tasks = await stage.started("a", "b", "c")
        assert len(stage.executor.plans) == 1
        assert [await member.finish(stream) for member, stream in tasks] == ["statistics"] * 3
        assert stage.executor.plans == {}

    run(test())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_after_a_death_every_unfinished_task_fails_with_the_same_cause(order: tuple[int, ...]) -> None:
    async def test() -> None:
        stage = Stage()
        tasks = await stage.started("a", "b", "c")
        boom = ValueError("unlucky row")
        stage.plan.die(boom)
        for position in order:
            member, stream = tasks[position]
            with pytest.raises(PipelineFailedError) as failure:
                await member.finish(stream)
            assert failure.value.cause is boom
        assert stage.executor.plans == {}

    run(test())


def test_a_task_whose_stream_was_cut_while_the_pipeline_was_still_going_down_does_not_succeed() -> None:
    async def test() -> None:
        stage = Stage()
        (a, a_stream), (b, b_stream) = await stage.started("a", "b")
        boom = ValueError("unlucky row")
        plan = stage.plan
        plan.begin_to_die(boom)
        # The executor alone would now call a a success: nothing has told it of the death.
        ends = [asyncio.ensure_future(a.finish(a_stream)), asyncio.ensure_future(b.finish(b_stream))]
        await asyncio.sleep(0)
        plan.dead.set()
        for end in await asyncio.gather(*ends, return_exceptions=True):
            assert isinstance(end, PipelineFailedError)
            assert end.cause is boom

    run(test())


def test_concurrent_ends_after_a_death_all_fail() -> None:
    async def test() -> None:
        stage = Stage()
        tasks = await stage.started("a", "b", "c")
        stage.plan.die(ValueError("unlucky row"))
        ends = await asyncio.gather(*(member.finish(stream) for member, stream in tasks), return_exceptions=True)
        assert all(isinstance(end, PipelineFailedError) for end in ends)

    run(test())


def test_a_task_that_ended_before_the_death_keeps_its_success() -> None:
    async def test() -> None:
        stage = Stage()
        (a, a_stream), (b, b_stream) = await stage.started("a", "b")
        assert await a.finish(a_stream) == "statistics"
        stage.plan.die(ValueError("unlucky row"))
        with pytest.raises(PipelineFailedError):
            await b.finish(b_stream)

    run(test())


def test_the_last_task_is_decided_by_the_pipeline_itself_without_a_probe() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, a_stream),) = await stage.started("a")
        boom = ValueError("unlucky row")
        plan = stage.plan
        plan.begin_to_die(boom)
        end = asyncio.ensure_future(a.finish(a_stream))
        await asyncio.sleep(0)
        assert not end.done()
        plan.dead.set()
        with pytest.raises(PipelineFailedError) as failure:
            await end
        assert failure.value.cause is boom
        assert not failure.value.shared
        assert stage.executor.probes == 0

    run(test())


def test_a_task_that_came_too_late_fails_with_the_cause_that_its_siblings_find() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, a_stream),) = await stage.started("a")
        boom = ValueError("unlucky row")
        stage.plan.die(boom)
        late = asyncio.ensure_future(stage.join("b").start())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not late.done()
        with pytest.raises(PipelineFailedError):
            await a.finish(a_stream)
        with pytest.raises(PipelineFailedError) as failure:
            await late
        assert failure.value.cause is boom

    run(test())


def test_tasks_that_came_too_late_do_not_wait_for_each_other() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, _),) = await stage.started("a")
        b, c = stage.join("b"), stage.join("c")
        stage.plan.die(ValueError("unlucky row"))
        late = [asyncio.ensure_future(member.start()) for member in (b, c)]
        await asyncio.sleep(0)
        a.abandon()
        for end in await asyncio.gather(*late, return_exceptions=True):
            assert isinstance(end, PipelineFailedError)
        assert stage.executor.plans == {}

    run(test())


def test_a_plan_that_cannot_be_built_fails_its_only_task_at_once() -> None:
    async def test() -> None:
        stage = Stage()

        async def fail(request: str, pipeline_id: int) -> Any:
            raise TypeError("no such operator")

        stage.executor.start = fail  # type: ignore[method-assign]
        with pytest.raises(PipelineFailedError) as failure:
            await stage.join("a").start()
        assert isinstance(failure.value.cause, TypeError)

    run(test())


def test_a_panic_of_the_extension_fails_all_tasks() -> None:
    class Panic(BaseException):
        """Like PyO3's, no Exception."""

    async def test() -> None:
        stage = Stage()
        (a, a_stream), (b, b_stream) = await stage.started("a", "b")
        panic = Panic("index out of bounds")
        stage.plan.die(panic)  # type: ignore[arg-type]
        for member, stream in ((a, a_stream), (b, b_stream)):
            with pytest.raises(PipelineFailedError) as failure:
                await member.finish(stream)
            assert failure.value.cause is panic

    run(test())


def test_a_dead_pipeline_is_never_joined_again() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, a_stream),) = await stage.started("a")
        stage.plan.die(ValueError("unlucky row"))
        with pytest.raises(PipelineFailedError):
            await a.finish(a_stream)
        b = stage.join("b")
        assert b.pipeline_id != a.pipeline_id
        assert await b.finish(await b.start()) == "statistics"

    run(test())


def test_a_pipeline_that_its_last_task_is_leaving_is_not_joined() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, a_stream),) = await stage.started("a")
        plan = stage.plan
        plan.streams_dropped = True  # so that its end takes a while
        end = asyncio.ensure_future(a.finish(a_stream))
        await asyncio.sleep(0)
        b = stage.join("b")
        assert b.pipeline_id != a.pipeline_id
        plan.dead.set()
        assert await end == "statistics"

    run(test())


def test_numbers_are_unique_beyond_32_bits_and_show_the_fingerprint() -> None:
    groups: PipelineGroups[str] = PipelineGroups(FakeExecutor())
    numbers = [groups.join("task", fingerprint=2**32 - 3, shared_key=None).pipeline_id for _ in range(50)]
    assert len(set(numbers)) == 50
    assert all(2**32 < number < 2**64 and number & 0xFFFFFFFF == 2**32 - 3 for number in numbers)


def test_a_task_without_a_shared_key_has_a_pipeline_of_its_own() -> None:
    async def test() -> None:
        stage = Stage()
        a, b = stage.join("a", key=None), stage.join("b", key=None)
        a_stream, b_stream = await a.start(), await b.start()
        stage.executor.plans[a.pipeline_id].die(ValueError("unlucky row"))
        with pytest.raises(PipelineFailedError) as failure:
            await a.finish(a_stream)
        assert not failure.value.shared
        assert await b.finish(b_stream) == "statistics"
        assert stage.executor.probes == 0

    run(test())


def test_abandoning_the_only_task_kills_the_pipeline() -> None:
    async def test() -> None:
        stage = Stage()
        ((a, _),) = await stage.started("a")
        a.abandon()
        assert stage.executor.cancelled == [a.pipeline_id]

    run(test())


def test_abandoning_one_of_two_lets_the_other_succeed_and_then_kills_the_rest() -> None:
    async def test() -> None:
        stage = Stage()
        (a, _), (b, b_stream) = await stage.started("a", "b")
        a.abandon()
        assert stage.executor.cancelled == []
        assert await b.finish(b_stream) == "statistics"
        assert stage.executor.cancelled == [a.pipeline_id]

    run(test())


def test_a_pipeline_with_an_abandoned_task_takes_no_new_ones() -> None:
    async def test() -> None:
        stage = Stage()
        (a, _), (b, _) = await stage.started("a", "b")
        a.abandon()
        assert stage.join("c").pipeline_id != b.pipeline_id

    run(test())


def test_abandoning_after_the_end_does_nothing() -> None:
    async def test() -> None:
        stage = Stage()
        (a, a_stream), (b, b_stream) = await stage.started("a", "b")
        await a.finish(a_stream)
        a.abandon()
        assert stage.executor.cancelled == []
        assert await b.finish(b_stream) == "statistics"

    run(test())


def test_a_task_cancelled_while_it_finishes_leaves_the_others_alone() -> None:
    async def test() -> None:
        stage = Stage()
        (a, a_stream), (b, b_stream) = await stage.started("a", "b")
        reached, released = asyncio.Event(), asyncio.Event()

        async def slow_probe(request: str, pipeline_id: int) -> None:
            reached.set()
            await released.wait()

        stage.executor.probe = slow_probe  # type: ignore[method-assign]
        end = asyncio.ensure_future(a.finish(a_stream))
        await reached.wait()
        end.cancel()
        with pytest.raises(asyncio.CancelledError):
            await end
        a.abandon()
        released.set()
        assert await b.finish(b_stream) == "statistics"
        assert stage.executor.plans == {}

    run(test())
