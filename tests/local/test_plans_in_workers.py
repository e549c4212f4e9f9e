"""Plans load handles and the wire into real workers, and no room of the driver.

One session runs plans with every handle. Then each of its workers and an actor say which modules they have loaded.
"""

from __future__ import annotations

from pathlib import Path

from tests.local.remote_driver import RemoteDriver
from tests.local.test_key_filter import EXISTING, SKIP
from tests.local.test_llm import BEFORE, FAKE, query, right

LIMIT = "answer = len(daft.range(10_000, partitions=8).where(col('id') >= 0).offset(5).limit(2_000).to_pydict()['id'])"
ACTORS = """
@daft.cls(max_concurrency=2)
class Model:
    def __init__(self):
        import sys
        self.rooms = rooms_of(sys.modules)

    @daft.method.batch(return_dtype=daft.DataType.string())
    def look(self, values):
        return [self.rooms] * len(values)
"""
LOOK = """
def rooms_of(modules):
    return " ".join(sorted({name.split(".")[1] for name in modules if name.startswith("daft_k8s.")}))

@daft.func.batch(return_dtype=daft.DataType.string())
def look(values):
    import sys, time
    time.sleep(0.05)  # so that each worker gets tasks
    return [f"{os.getpid()}: {rooms_of(sys.modules)}"] * len(values)
"""
GROUND = {"_native", "addresses", "boot", "errors", "handles", "printable", "wire"}
WORKERS_OWN = {"code", "worker"}


def test_a_worker_that_ran_plans_with_every_handle_has_loaded_no_room_of_the_driver(tmp_path: Path) -> None:
    existing = str(tmp_path / "existing")
    with RemoteDriver(tmp_path, before=BEFORE.format(fake=str(FAKE))) as driver:
        assert driver.run(LIMIT) == 2_000
        assert driver.run(EXISTING.format(existing=existing) + SKIP.format(existing=existing)) == [
            *range(3_000, 10_000)
        ]
        assert driver.run(query(tmp_path / "engines")) == right()
        driver.run(LOOK)
        found = driver.run(
            ACTORS + "answer = sorted(set(daft.range(16, partitions=8)"
            ".with_column('rooms', Model().look(col('id'))).to_pydict()['rooms']))"
        )
        for rooms in found:
            assert set(rooms.split()) <= GROUND | WORKERS_OWN, "an actor"
        found = driver.run(
            "answer = sorted(set(daft.range(64, partitions=32)"
            ".with_column('rooms', look(col('id'))).to_pydict()['rooms']))"
        )
        assert len(found) == 2, "one worker did not tell"
        for line in found:
            rooms = set(line.partition(": ")[2].split())
            assert {"handles", "worker"} <= rooms <= GROUND | WORKERS_OWN, line
