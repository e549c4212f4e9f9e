"""Fetching results from workers that cannot be reached for a while. Real workers: tests/local, tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import daft
import pytest

from daft_k8s.errors import TaskError, WorkerLostError
from daft_k8s.seam import partitions
from daft_k8s.seam.partitions import K8sMaterializedResult, fetch_micropartitions, holds_objects
from tests.local.hostile_exceptions import EXCEPTIONS

Problems = list[Exception | None]


class Manager:
    """Meets with these problems, one a try; then there is data."""

    def __init__(self, problems: Problems, pass_time: Callable[[], None]) -> None:
        self._problems = problems
        self._pass_time = pass_time

    def fetch(self, refs: Any) -> list[Any]:
        self._pass_time()
        problem = self._problems.pop(0) if self._problems else None
        if problem is not None:
            raise problem
        return [daft.from_pydict({"x": [1, 2, 3]}).to_arrow() for _ in refs]

    def fetch_async(self, refs: Any, callback: Any) -> None:
        try:
            callback(self.fetch(refs), None)
        except Exception as error:
            callback(None, error)


class Session:
    """Half a session, with a pool that gives a silent worker up after 10 s; each try takes 2 s, or as told."""

    patience_seconds = 10.0
    try_seconds = 2.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, problems: Problems) -> None:
        self.seconds = 0.0
        self.problems = problems
        self.manager = Manager(problems, self._pass_time)
        self.loop = asyncio.new_event_loop()
        monkeypatch.setattr(partitions, "_RETRY_SECONDS", 0)
        monkeypatch.setattr(partitions.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(partitions, "to_micropartition", lambda table, *, objects: table)

    def ensure_open(self, advice: str = "") -> None:
        """Nobody shuts it down."""

    def _pass_time(self) -> None:
        self.seconds += self.try_seconds

    def fetch_now(self) -> Any:
        return fetch_micropartitions(self, ["reference"])[0]  # type: ignore[arg-type]

    def fetch_ahead(self) -> Any:
        async def fetch() -> K8sMaterializedResult:
            result = K8sMaterializedResult(self, "reference")  # type: ignore[arg-type]
            result.start_fetch()
            while result._fetched is None or not result._fetched.done():
                await asyncio.sleep(0)
            return result

        return self.loop.run_until_complete(fetch()).micropartition()


@pytest.fixture(params=["fetch_now", "fetch_ahead"])
def fetch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    sessions = []

    def run(problems: Problems) -> tuple[Any, Session]:
        sessions.append(Session(monkeypatch, problems))
        return getattr(sessions[-1], request.param), sessions[-1]

    yield run
    for session in sessions:
        session.loop.close()


def test_a_worker_that_is_out_of_reach_for_a_while_is_asked_again(fetch: Any) -> None:
    work, session = fetch([ConnectionError("cannot reach it"), TimeoutError("it sent nothing")])
    assert len(work()) == 3
    assert session.seconds == 6


def test_a_try_that_takes_longer_than_the_pool_is_patient_is_not_the_last(fetch: Any) -> None:
    work, session = fetch([TimeoutError("it sent nothing for 60 s")])
    session.try_seconds = 60.0
    assert len(work()) == 3
    assert session.seconds == 120


def test_that_it_is_lost_is_told_at_once_in_the_pools_words(fetch: Any) -> None:
    work, session = fetch([ConnectionError("cannot reach it"), LookupError("worker-0 was lost (the Pod p)"), None])
    with pytest.raises(WorkerLostError, match=r"could not be fetched: worker-0 was lost \(the Pod p\)"):
        work()
    assert session.seconds == 4


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_what_unpickling_raises_is_neither_a_loss_nor_a_reason_to_ask_again(
    fetch: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = EXCEPTIONS[name]()

    def unpickle(_: object, *, objects: bool) -> None:
        raise error

    work, session = fetch([])
    monkeypatch.setattr(partitions, "to_micropartition", unpickle)
    try:
        work()
    except BaseException as told:
        assert told is error or (type(told) is TaskError and told.__cause__ is error)
    else:
        pytest.fail("nothing was raised")
    assert session.seconds == session.try_seconds


def test_it_is_not_asked_for_ever(fetch: Any) -> None:
    work, session = fetch([ConnectionError("cannot reach it")] * 100)
    with pytest.raises(WorkerLostError, match="cannot reach it"):
        work()
    assert 15 <= session.seconds <= 18


OBJECT = daft.DataType.python()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (OBJECT, True),
        (daft.DataType.list(OBJECT), True),
        (daft.DataType.struct({"x" * 300: daft.DataType.list(OBJECT)}), True),
        (daft.DataType.int64(), False),
        (daft.DataType.struct({"x": daft.DataType.image()}), False),
    ],
)
def test_objects_are_found_however_deep_in_a_schema(dtype: daft.DataType, expected: bool) -> None:
    assert holds_objects(daft.Schema.from_pydict({"id": daft.DataType.int64(), "column": dtype})) is expected


def test_objects_are_looked_for_where_two_columns_have_one_name() -> None:
    frame = daft.from_pydict({"id": [1]}).groupby(daft.col("id") % 3).map_groups(_first(daft.col("id")))
    assert not holds_objects(frame._builder.schema())


@daft.func.batch(return_dtype=daft.DataType.int64())
def _first(values: daft.Series) -> list[int]:
    return values.to_pylist()[:1]
