"""LIMIT and OFFSET while workers are killed: exactly the rows asked for, each once, or an error that says why.

A UDF before or after the LIMIT waits at a `Checkpoint` in the middle of a task, so that some rows are granted already
and others are not; then one worker or both are killed. Not covered: what a UDF does to the outside in rows that are
dropped again. `KILL_EXAMPLES=50` kills more often than the few times that are right for every change.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.local.checkpoint import POLL_SECONDS
from tests.local.remote_driver import RemoteDriver, Reply, poll, send_signal

ROWS = 10_000
PARTITIONS = 8
BATCH = 100

HOLD = """
@daft.func.batch(return_dtype=daft.DataType.int64(), batch_size={batch})
def hold(values):
    if values.to_pylist()[0] % {rows_each} // {batch} >= {piece}:
        Checkpoint({folder!r}, holds={holds}).pass_by()
    return values

held = hold(col("id"))
"""

UNORDERED = {
    "udf before": "df.with_column('held', held).limit({n})",
    "udf after": "df.limit({n}).with_column('held', held)",
    "offset, udf before": "df.with_column('held', held).offset({k}).limit({n})",
    "offset, udf after": "df.offset({k}).limit({n}).with_column('held', held)",
    "udf between two": "df.limit({k} + {n}).with_column('held', held).limit({n})",
    "then a shuffle": "df.with_column('held', held).limit({n}).repartition(3, 'id')",
}
ORDERED = {
    "top n": "df.with_column('held', held).sort('id', desc=True).limit({n})",
    "sorted after": "df.with_column('held', held).sort('id', desc=True).limit({n}).with_column('x', col('id') + 1)",
    "sorted, offset": "df.with_column('held', held).sort('id', desc=True).offset({k}).limit({n})",
}


class Kill(NamedTuple):
    """When workers die, and which: by their places among those that wait in the UDF, then those that do not."""

    holds: int
    piece: int
    victims: tuple[int, ...]


KILLS = st.builds(
    Kill, holds=st.integers(1, 2), piece=st.integers(0, 4), victims=st.sampled_from([(0,), (0,), (0,), (1,), (0, 1)])
)
CERTAIN: dict[str, Any] = {"n": 9_900, "k": 50, "kill": Kill(holds=1, piece=0, victims=(0,))}
"""No LIMIT has enough rows before every task has come to the UDF."""
COUNTS = st.one_of(st.integers(1, ROWS // PARTITIONS), st.integers(1, ROWS + 100))
OFFSETS = st.one_of(st.integers(0, BATCH * 4), st.integers(0, ROWS + 100))
SECOND_ARRIVAL_SECONDS = 2.0
"""How long after the first task in the UDF the second is waited for; a LIMIT with enough rows sends it none."""

# Each example is a few seconds, so a failing one is printed as it is.
KILLING = settings(
    max_examples=int(os.environ.get("KILL_EXAMPLES", "3")),
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteDriver]:
    with RemoteDriver(tmp_path_factory.mktemp("driver"), max_worker_restarts=1000, max_task_attempts=6) as driver:
        yield driver


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("holds")
    return (root / str(number) for number in itertools.count())


def run_and_kill(driver: RemoteDriver, folder: Path, query: str, kill: Kill) -> tuple[Reply, bool]:
    """The query's end, and whether workers died before it: a LIMIT may have enough before anyone waits in the UDF."""
    # Both processes first: of a worker that died after its query had ended, the driver may not know yet.
    poll(lambda: len(driver.workers()) == 2, 40, "the dead worker is not replaced")
    driver.wait_for_workers(seconds=40)
    before = HOLD.format(batch=BATCH, rows_each=ROWS // PARTITIONS, folder=str(folder), **kill._asdict())
    driver.send(f"{before}answer = ({query}).to_pydict()['id']")
    waiting: list[int] = []
    end = time.monotonic() + 30
    while len(waiting) < kill.holds and time.monotonic() < end:
        if driver.has_replied():
            return driver.reply(), False
        arrived = [int(text) for path in folder.glob("waiting-*") if (text := path.read_text()).endswith("\n")]
        if arrived and not waiting:
            end = time.monotonic() + SECOND_ARRIVAL_SECONDS
        waiting = arrived
        time.sleep(POLL_SECONDS)
    assert waiting, f"nobody waits in the UDF, and there is no answer\n{driver.log()}"
    pids = list(dict.fromkeys(waiting))  # two tasks may wait in one process, one after the other
    pids += [worker.pid for worker in driver.workers() if worker.pid not in pids]
    for place in kill.victims:
        send_signal(pids[place], signal.SIGKILL)
    (folder / "open").touch()
    return driver.reply(40), True


@pytest.mark.parametrize("shape", UNORDERED)
def test_a_limit_is_exact_though_workers_are_killed(driver: RemoteDriver, folders: Iterator[Path], shape: str) -> None:
    ends: Counter[str] = Counter()

    @KILLING
    @example(**CERTAIN)
    @given(n=COUNTS, k=OFFSETS, kill=KILLS)
    def check(n: int, k: int, kill: Kill) -> None:
        folder = next(folders)
        reply, killed = run_and_kill(driver, folder, UNORDERED[shape].format(n=n, k=k), kill)
        skipped = k if shape.startswith("offset") else 0
        ends[f"{'killed' if killed else 'in peace'}: {reply.error}"] += 1
        if reply.error is None:
            assert len(reply.answer) == max(0, min(n, ROWS - skipped))
            assert len(set(reply.answer)) == len(reply.answer)
            assert set(reply.answer) <= set(range(ROWS))
        else:
            assert killed and reply.error == "WorkerLostError", reply

    check()
    print(dict(ends))
    assert any(end.startswith("killed") for end in ends), ends


def test_a_limit_survives_the_first_worker_that_is_killed(driver: RemoteDriver, folders: Iterator[Path]) -> None:
    """The victim waits in its first task, so no result dies with it; one shape may still be out of luck."""
    n, k, kill = CERTAIN["n"], CERTAIN["k"], CERTAIN["kill"]
    ends: dict[str, str | None] = {}
    for shape in ("udf before", "udf after", "udf between two"):
        reply, killed = run_and_kill(driver, next(folders), UNORDERED[shape].format(n=n, k=k), kill)
        assert killed, shape
        ends[shape] = reply.error
    assert None in ends.values(), ends


@pytest.mark.parametrize("shape", ORDERED)
def test_a_limit_after_a_sort_is_exact_though_workers_are_killed(
    driver: RemoteDriver, folders: Iterator[Path], shape: str
) -> None:
    ends: Counter[str] = Counter()

    @KILLING
    @example(**CERTAIN)
    @given(n=COUNTS, k=OFFSETS, kill=KILLS)
    def check(n: int, k: int, kill: Kill) -> None:
        reply, killed = run_and_kill(driver, next(folders), ORDERED[shape].format(n=n, k=k), kill)
        skipped = k if "offset" in shape else 0
        ends[f"{'killed' if killed else 'in peace'}: {reply.error}"] += 1
        if reply.error is None:
            assert reply.answer == list(reversed(range(ROWS)))[skipped : skipped + n]
        else:
            assert killed and reply.error == "WorkerLostError", reply

    check()
    print(dict(ends))
    assert any(end.startswith("killed") for end in ends), ends
