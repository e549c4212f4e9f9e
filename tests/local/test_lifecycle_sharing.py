"""Several drivers on one machine, several queries at once in one driver, and what all of them leave in the workers.

Not covered: speed.
"""

from __future__ import annotations

from pathlib import Path

from tests.local.remote_driver import RemoteDriver, files_below, poll

# Looks into the worker's store from a task of that worker: by worker, the fewest partitions that any task saw.
STORES = """
@daft.func.batch(return_dtype=daft.DataType.string())
def look(values):
    from daft_k8s.handles import driver_calls
    from daft_k8s.worker import logs
    server = driver_calls._current
    memory = server.memory_status()
    return [json.dumps([server.instance_id, memory.partitions, memory.spilled_bytes])] * len(values)

def stores(query=daft.range(16, partitions=8)):
    seen = {}
    for line in query.with_column("status", look(col("id"))).to_pydict()["status"]:
        worker, partitions, spilled = json.loads(line)
        seen[worker] = min(seen.get(worker, [10**9, 0]), [partitions, spilled])
    return sorted(seen.values())

def wait_for_stores(holds):
    end = time.monotonic() + 30
    while not holds(found := stores()) and time.monotonic() < end:
        time.sleep(0.1)
    return found
"""


def spill_files(driver: RemoteDriver) -> list[str]:
    return [name for name in files_below(driver.spill_dir) if name.endswith(".arrows")]


def test_two_drivers_at_once_keep_to_their_own_workers(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    step = "answer = df.where(col('id') < {0}).repartition(5, 'key').sort('id').to_pydict()['id'] == list(range({0}))"
    with RemoteDriver(tmp_path) as one, RemoteDriver(tmp_path / "other") as other:
        for limit in (10, 5_000, 9_999):
            one.send(step.format(limit))
            other.send(step.format(limit - 1))
            assert one.reply().answer is True
            assert other.reply().answer is True
        workers = one.workers()
        assert not {worker.pid for worker in workers} & {worker.pid for worker in other.workers()}
        other.send("", last=True)
        assert other.wait() == 0
        assert one.run("answer = df.count_rows()") == 10_000
        assert one.workers() == workers


def test_twenty_queries_of_four_threads_give_right_answers(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        wrong = driver.run("""
queries = [
    lambda key: df.where(col("key") == key).agg(col("id").sum()).to_pydict()["id"] == [sum(range(key, 10_000, 7))],
    lambda key: df.groupby("key").agg(col("id").count().alias("n")).where(col("key") == key).to_pydict()["n"]
        == [len(range(key, 10_000, 7))],
    lambda key: df.sort("id", desc=True).limit(key + 1).to_pydict()["id"] == list(range(9_999, 9_998 - key, -1)),
    lambda key: sorted(row["id"] for row in df.where(col("id") < 50 + key).iter_rows()) == list(range(50 + key)),
    lambda key: df.join(df.where(col("id") % 100 == key), on="id").count_rows() == 100,
]
wrong = []

def work(key):
    for number, query in enumerate(queries):
        try:
            if not query(key):
                wrong.append([key, number, "wrong"])
        except Exception as error:
            wrong.append([key, number, repr(error)])

threads = [threading.Thread(target=work, args=(key,)) for key in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
answer = wrong
""")
        assert wrong == []


def test_when_all_references_are_dropped_workers_hold_no_partition_and_no_file(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, worker_memory="256Mi", store_memory_share=0.05) as driver:
        driver.run(STORES)
        driver.run("kept = daft.range(4_000_000, partitions=4).repartition(4, 'id').collect()")
        held = driver.run("answer = wait_for_stores(lambda found: any(spilled > 0 for _, spilled in found))")
        assert all(partitions > 0 for partitions, _ in held), held
        assert any(spilled > 0 for _, spilled in held), held
        assert spill_files(driver)
        driver.run("""
df.repartition(7, "key").join(df.sort("id", desc=True), on="id").groupby("key").agg(col("id").sum()).to_pydict()
rows = df.repartition(5, "key").iter_rows()
next(rows)
del rows, kept
""")
        assert driver.run("answer = wait_for_stores(lambda found: found == [[0, 0], [0, 0]])") == [[0, 0], [0, 0]]
        poll(lambda: not spill_files(driver), 30, lambda: f"there still is {spill_files(driver)}")
