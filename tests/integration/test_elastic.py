"""A pool of Pods that grows with its work and lets idle Pods go, and loses nothing by it."""

from __future__ import annotations

from itertools import groupby, pairwise

from tests.integration.cluster import Namespace

MOST = 6

SCRIPT = """
import threading

session = use(num_workers=None, min_workers=0, max_workers=6, worker_cpu=0.25, idle_timeout_seconds=5)
begin = time.monotonic()
counts, stop = [], threading.Event()

def look():
    while not stop.wait(0.1):
        counts.append([session.manager.ready_count(), time.monotonic() - begin])

def wait_for_nobody():
    end = time.monotonic() + 60
    while session.manager.ready_count():
        assert time.monotonic() < end, session.snapshot()
        time.sleep(0.1)

@daft.func
def slowly(x: int) -> int:
    time.sleep(1)
    return x

threading.Thread(target=look, daemon=True).start()
# Too much for the driver to keep a copy, as it does of small results, which hold no worker.
pad = daft.lit("x" * 10_000)
kept = daft.range(90, partitions=90).with_column("x", slowly(col("id"))).with_column("pad", pad).collect()
say(collected_seconds=time.monotonic() - begin)
time.sleep(15)  # three times the idle time-out
say(held=sum(kept.to_pydict()["x"]), holders=session.manager.ready_count())
del kept
released = time.monotonic()
wait_for_nobody()
counts.append([session.manager.ready_count(), time.monotonic() - begin])  # the other thread may look too late
say(gone_seconds=time.monotonic() - released, counts=counts)
stop.set()
say(again=count_rows())
"""


def test_a_pool_grows_from_nothing_to_six_and_back_and_loses_no_partition(namespace: Namespace) -> None:
    driver = namespace.start(SCRIPT)
    facts = driver.finish(110)
    steps = [next(group) for _, group in groupby(facts["counts"], key=lambda sample: sample[0])]
    print(f"collected after {facts['collected_seconds']:.1f} s, {facts['holders']} workers held partitions, ")
    print(f"none left {facts['gone_seconds']:.1f} s after the last reference: {steps}")
    counts = [count for count, _ in steps]
    top = counts.index(MOST)
    # No flapping: as the pool grows no worker goes, and as it shrinks none comes.
    assert all(after > before for before, after in pairwise(counts[: top + 1])), counts
    assert all(after < before for before, after in pairwise(counts[top:])), counts
    assert counts[-1] == 0
    assert facts["held"] == sum(range(90))
    assert facts["holders"] > 0
    assert facts["again"] == 500
    assert "was lost" not in driver.log()
