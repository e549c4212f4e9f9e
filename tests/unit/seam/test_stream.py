"""The results of a plan, and their end: only Daft's None is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.seam.stream import ResultStream
from daft_k8s.wire.raised import CarriedError
from tests.local.hostile_exceptions import EXCEPTIONS, PROTOCOL


class Plan:
    """Yields results, then raises; or ends as Daft does, with None."""

    def __init__(self, results: list[str], error: BaseException | None = None) -> None:
        self._results, self._error = results, error

    async def __anext__(self) -> str | None:
        if self._results:
            return self._results.pop(0)
        if self._error is not None:
            raise self._error
        return None

    def finish(self) -> str:
        return "statistics"


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def stream(loop: asyncio.AbstractEventLoop, plan: Plan) -> ResultStream:
    make_result: Any = lambda reference: reference  # noqa: E731
    return ResultStream(loop, plan, make_result, ahead=2)


def test_results_come_in_order_up_to_the_end(loop: asyncio.AbstractEventLoop) -> None:
    results = stream(loop, Plan(["a", "b", "c"]))
    assert list(results) == ["a", "b", "c"]
    assert results.close() == "statistics"


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("name", [name for name in EXCEPTIONS if name not in ("SystemExit", "KeyboardInterrupt")])
def test_an_exception_is_never_an_end(loop: asyncio.AbstractEventLoop, name: str, carried: bool) -> None:
    error = EXCEPTIONS[name]()
    results = stream(loop, Plan(["a"], CarriedError(error) if carried else error))
    got = []
    try:
        for result in results:
            got.append(result)
    except Exception as told:
        assert told is error or type(told) in (TaskError, RuntimeError)
    else:
        pytest.fail("the results ended as if they were complete")
    assert got == ["a"]
    results.close()


@pytest.mark.parametrize("name", PROTOCOL)
def test_an_exception_on_which_python_acts_is_the_cause_of_a_runtime_error(
    loop: asyncio.AbstractEventLoop, name: str
) -> None:
    results = stream(loop, Plan([], CarriedError(EXCEPTIONS[name]())))
    with pytest.raises(RuntimeError, match=name) as told:
        list(results)
    assert type(told.value.__cause__).__name__ == name
    results.close()
