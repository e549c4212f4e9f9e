"""Data that only a lost worker held, and chance has made: its query says which Pod it was, and why; the next one works.

How a cluster is broken: tests/integration/faults.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.cluster import Namespace
from tests.integration.faults import Nodes, needs, node_of
from tests.integration.outside import OutsideDriver

Start = Callable[[str], OutsideDriver]

# As long as the data is there the answer is right; once it is not, the error is clear.
SCRIPT = """
import socket

session = use(num_workers=3, start_timeout_seconds=180)

def all_are_ready():
    end = time.monotonic() + 180
    while session.manager.ready_count() < 3:
        assert time.monotonic() < end, session.snapshot()
        time.sleep(0.1)

@daft.func
def slowly(x: int) -> int:
    time.sleep(0.3)
    return x

@daft.func
def dying(x: int) -> int:
    if socket.gethostname().endswith("worker-0-1"):
        os._exit(137)
    return x

@daft.func
def by_chance(x: int) -> str:
    return os.urandom(5_000).hex()

all_are_ready()
# Too much for the driver to keep a copy, as it does of small results; and another run gives other values, so that what
# is lost cannot be recomputed.
kept = daft.range(18, partitions=18).select(slowly(col("id")), by_chance(col("id")).alias("pad")).collect()
say(session=session.session_id, kept=len(kept))
end = time.monotonic() + 120
while not os.path.exists("{go}"):
    assert time.monotonic() < end
    time.sleep(0.05)
end = time.monotonic() + 90
while time.monotonic() < end:
    try:
        rows = kept.{use}["id"]
    except Exception as error:
        say(error=f"{{type(error).__name__}}: {{error}}", failed_at=time.time())
        break
    assert sum(rows) == sum(range(18)), rows
say(next=count_rows(), next_at=time.time())
all_are_ready()
say(at_size=time.time(), after=count_rows(), launches=[w.launch for w in session.snapshot().workers])
"""
SECOND_QUERY = 'with_column("twice", col("id") * 2).to_pydict()'
KILLING_QUERY = 'with_column("twice", dying(col("id"))).to_pydict()'


def pod_names(pods: list[dict]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def delete_pod(namespace: Namespace, nodes: Nodes, pod: dict) -> float:
    at = time.time()
    namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    return at


def let_it_die(namespace: Namespace, nodes: Nodes, pod: dict) -> float:
    return time.time()  # by what the driver runs there


def kill_node(namespace: Namespace, nodes: Nodes, pod: dict) -> float:
    needs("INTEGRATION_NODE_KILL", "INTEGRATION_NODE_MEND")
    return nodes.break_node("INTEGRATION_NODE_KILL", node_of(pod))


def cut_node(namespace: Namespace, nodes: Nodes, pod: dict) -> float:
    needs("INTEGRATION_NODE_CUT", "INTEGRATION_NODE_MEND")
    return nodes.break_node("INTEGRATION_NODE_CUT", node_of(pod))


class Fault(NamedTuple):
    """What happens to a worker, what is said of it, and within which time."""

    happen: Callable[[Namespace, Nodes, dict], float]
    words: str
    seconds: float
    query: str = SECOND_QUERY


FAULTS = {
    "Pod deleted": Fault(delete_pod, "a user or a controller deletes it", 30),
    "process killed": Fault(let_it_die, "exit code 137", 30, KILLING_QUERY),
    "node killed": Fault(kill_node, "nothing has come from it for", 30),
    "node unplugged": Fault(cut_node, "nothing has come from it for", 60),
}


def judge(facts: dict[str, Any], pods: list[str], broken_at: float, fault: Fault, name: str) -> None:
    """The error came in time, and says which Pod it was and why; afterwards all is as it was."""
    took = {what: round(facts[what] - broken_at, 1) for what in ("failed_at", "next_at", "at_size")}
    print(f"{name}: {facts['error']}\nseconds after the fault: {took}")
    assert facts["error"].startswith("WorkerLostError: "), facts
    assert [pod for pod in pods if f"(Pod {pod}" in facts["error"]], facts["error"]
    assert fault.words in facts["error"]
    assert took["failed_at"] <= fault.seconds
    assert facts["next"] == facts["after"] == 500
    assert max(facts["launches"]) > 1


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", FAULTS)
def test_outside_lost_data_is_told_with_pod_and_reason_and_the_next_query_works(
    empty_namespace: Namespace, start_outside: Start, nodes: Nodes, tmp_path: Path, name: str
) -> None:
    fault, go = FAULTS[name], tmp_path / "go"
    driver = start_outside(SCRIPT.format(go=go, use=fault.query))
    driver.wait_for_fact("kept", 120)
    pods = empty_namespace.workers(driver.facts()["session"])
    victim = pods[0]  # worker-0's
    lost = [pod for pod in pods if "node" in name and node_of(pod) == node_of(victim)] or [victim]
    broken_at = fault.happen(empty_namespace, nodes, victim)
    go.touch()
    judge(driver.finish(240), pod_names(lost), broken_at, fault, f"outside, {name}")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["Pod deleted", "process killed"])
def test_inside_lost_data_is_told_with_pod_and_reason_and_the_next_query_works(
    namespace: Namespace, nodes: Nodes, name: str
) -> None:
    fault = FAULTS[name]
    driver = namespace.start(SCRIPT.format(go="/tmp/go", use=fault.query))
    driver.wait_for_fact("kept", 120)
    victim = namespace.workers(driver.facts()["session"])[0]
    broken_at = fault.happen(namespace, nodes, victim)
    namespace.kubectl("exec", driver.name, "--", "touch", "/tmp/go")
    judge(driver.finish(240), pod_names([victim]), broken_at, fault, f"inside, {name}")
