"""What breaks in the middle of a query, and what the next one meets. Prints the seconds that each took.

How a cluster is broken: tests/integration/faults.py.
"""

from __future__ import annotations

import time

import pytest

from tests.integration.cluster import Driver, Namespace
from tests.integration.faults import Nodes, needs, node_of

WORKERS = 3

QUERY = """
import socket

session = use(num_workers=3, start_timeout_seconds=180, allocation="{allocation}")

@daft.func
def slowly(x: int) -> int:
    time.sleep(0.5)
    if {dies} and socket.gethostname().endswith("worker-1-1"):
        os._exit(137)
    return x

def all_are_ready():
    end = time.monotonic() + 180
    while session.manager.ready_count() < 3:
        assert time.monotonic() < end, session.snapshot()
        time.sleep(0.2)

before = count_rows()
all_are_ready()
say(session=session.session_id, before=before)
try:
    rows = daft.range({rows}, partitions={rows}).select(slowly(col("id"))).to_pydict()
    say(query=sum(rows["id"]))
except Exception as error:
    say(query=f"{{type(error).__name__}}: {{error}}")
say(ended=time.time())
say(next=count_rows(), next_ended=time.time())
all_are_ready()
say(at_size=time.time(), after=count_rows(), launches=[worker.launch for worker in session.snapshot().workers])
"""


def begin(namespace: Namespace, *, rows: int = 40, dies: bool = False, allocation: str = "pod") -> Driver:
    driver = namespace.start(QUERY.format(rows=rows, dies=dies, allocation=allocation))
    driver.wait_for_fact("before", 120)
    return driver


def victim(namespace: Namespace, driver: Driver) -> dict:
    """A worker's Pod on another node than the driver's."""
    own = node_of(driver.pod())
    found = [pod for pod in namespace.workers(driver.facts()["session"]) if node_of(pod) != own]
    if not found:
        pytest.skip("all workers are on the driver's node")
    return found[0]


def judge(driver: Driver, broken_at: float, *, rows: int = 40, name: str) -> dict:
    """The query's answer was right or the loss was named; the next one worked, and the pool is at its size."""
    facts = driver.finish(240)
    seconds = {key: round(facts[key] - broken_at, 1) for key in ("ended", "next_ended", "at_size")}
    print(f"{name}: {facts['query']}; seconds after the fault: {seconds}")
    if facts["query"] != sum(range(rows)):
        assert "WorkerLostError" in str(facts["query"]), facts
    assert facts["next"] == facts["after"] == 500
    return {**facts, "seconds": seconds}


def replaced(facts: dict) -> bool:
    return max(facts["launches"]) > 1


def test_a_worker_pod_is_deleted(namespace: Namespace) -> None:
    driver = begin(namespace)
    pod = victim(namespace, driver)
    broken_at = time.time()
    namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    facts = judge(driver, broken_at, name="Pod deleted")
    assert facts["query"] == sum(range(40))
    assert replaced(facts)


def test_a_workers_process_dies(namespace: Namespace) -> None:
    broken_at = time.time()
    facts = judge(begin(namespace, dies=True), broken_at, name="process died")
    assert replaced(facts)


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    ("how", "ends_within_seconds"), [("INTEGRATION_NODE_KILL", 60), ("INTEGRATION_NODE_CUT", 75)], ids=["killed", "cut"]
)
def test_a_workers_node_goes(namespace: Namespace, nodes: Nodes, how: str, ends_within_seconds: float) -> None:
    needs(how, "INTEGRATION_NODE_MEND")
    driver = begin(namespace)
    broken_at = nodes.break_node(how, node_of(victim(namespace, driver)))
    facts = judge(driver, broken_at, name=how)
    assert facts["seconds"]["ended"] < ends_within_seconds
    assert replaced(facts)


@pytest.mark.nightly
@pytest.mark.timeout(360)
def test_the_name_of_a_replica_on_a_lost_node_is_freed(stateful_namespace: Namespace, nodes: Nodes) -> None:
    needs("INTEGRATION_NODE_KILL", "INTEGRATION_NODE_MEND")
    driver = begin(stateful_namespace, allocation="statefulset")
    broken_at = nodes.break_node("INTEGRATION_NODE_KILL", node_of(victim(stateful_namespace, driver)))
    facts = judge(driver, broken_at, name="node of a replica killed")
    assert replaced(facts)
