"""What breaks in the middle of a query, and what the next one meets. Prints the seconds that each took.

Nodes and the API server are broken by commands that the environment names, because every cluster has its own; what
is not named is skipped. A node's name is added to the command.

    INTEGRATION_NODE_KILL    takes a node away with all that runs on it, as a power cut does
    INTEGRATION_NODE_CUT     unplugs a node's network; what runs on it goes on
    INTEGRATION_NODE_MEND    brings either back
    INTEGRATION_API_STOP     takes the API server away
    INTEGRATION_API_START    brings it back
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daft_k8s.pods.rights import role_rules
from tests.integration.cluster import Driver, Namespace, kubectl, wait_until
from tests.integration.outside import OutsideDriver, write_kubeconfig

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
        assert time.monotonic() < end, session.status()
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
say(at_size=time.time(), after=count_rows(), workers=json.loads(session.status())["workers"])
"""


# Its ways to workers lead through the API server, so they are away with it.
OUTSIDE = """
session = use(num_workers=2, unreachable_timeout_seconds=150)
assert session.manager.wait_ready(2, 90) == 2

@daft.func
def slowly(x: int) -> int:
    time.sleep(0.5)
    return x

say(before=count_rows())
end = time.monotonic() + 240
while not os.path.exists("{go}"):
    assert time.monotonic() < end
    time.sleep(0.1)
rows = daft.range(100, partitions=100).select(slowly(col("id"))).to_pydict()
say(query=sum(rows["id"]), ended=time.time(), next=count_rows())
say(launches=[worker["launch"] for worker in json.loads(session.status())["workers"]])
"""


def command(name: str, *arguments: str) -> None:
    subprocess.run([*shlex.split(os.environ[name]), *arguments], check=True, timeout=120, capture_output=True)


def needs(*names: str) -> None:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        pytest.skip(f"nothing says how to break this cluster: {', '.join(missing)} is not set")


def node_of(pod: dict) -> str:
    return str(pod["spec"]["nodeName"])


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
    return max(worker["launch"] for worker in facts["workers"]) > 1


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


@pytest.fixture
def broken_node() -> Iterator[Callable[[str, str], float]]:
    """Breaks a node by a command, and mends it afterwards."""
    broken: list[str] = []

    def break_it(name: str, node: str) -> float:
        broken.append(node)
        at = time.time()
        command(name, node)
        return at

    yield break_it
    for node in broken:
        command("INTEGRATION_NODE_MEND", node)
        wait_until(lambda node=node: is_ready(node), 120, f"{node} is ready again")


def is_ready(node: str) -> bool:
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return kubectl("get", "node", node, "-o", f"jsonpath={path}") == "True"


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    ("how", "ends_within_seconds"), [("INTEGRATION_NODE_KILL", 60), ("INTEGRATION_NODE_CUT", 75)], ids=["killed", "cut"]
)
def test_a_workers_node_goes(
    namespace: Namespace, broken_node: Callable[[str, str], float], how: str, ends_within_seconds: float
) -> None:
    needs(how, "INTEGRATION_NODE_MEND")
    driver = begin(namespace)
    broken_at = broken_node(how, node_of(victim(namespace, driver)))
    facts = judge(driver, broken_at, name=how)
    assert facts["seconds"]["ended"] < ends_within_seconds
    assert replaced(facts)


@pytest.mark.nightly
@pytest.mark.timeout(360)
def test_the_name_of_a_replica_on_a_lost_node_is_freed(
    stateful_namespace: Namespace, broken_node: Callable[[str, str], float]
) -> None:
    needs("INTEGRATION_NODE_KILL", "INTEGRATION_NODE_MEND")
    driver = begin(stateful_namespace, allocation="statefulset")
    broken_at = broken_node("INTEGRATION_NODE_KILL", node_of(victim(stateful_namespace, driver)))
    facts = judge(driver, broken_at, name="node of a replica killed")
    assert replaced(facts)


@pytest.fixture
def outside_driver(empty_namespace: Namespace, tmp_path: Path) -> Iterator[Callable[[str], OutsideDriver]]:
    """Starts drivers outside the cluster: processes of this machine."""
    empty_namespace.set_rules(role_rules(outside=True))
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, empty_namespace)
    drivers: list[OutsideDriver] = []

    def begin(script: str) -> OutsideDriver:
        drivers.append(OutsideDriver(script, image=empty_namespace.image, kubeconfig=kubeconfig))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.end()


@pytest.mark.timeout(360)
def test_the_api_server_is_away_for_a_minute(
    namespace: Namespace, outside_driver: Callable[[str], OutsideDriver], tmp_path: Path
) -> None:
    needs("INTEGRATION_API_STOP", "INTEGRATION_API_START")
    go = tmp_path / "go"
    outside = outside_driver(OUTSIDE.format(go=go))
    outside.wait_for_fact("before", 120)
    driver = begin(namespace, rows=600)  # 100 s: at its end the API server is back for a while
    session = driver.facts()["session"]
    go.touch()
    stopped_at = time.time()
    command("INTEGRATION_API_STOP")
    try:
        time.sleep(60)  # this is what is tested: a minute without it
    finally:
        command("INTEGRATION_API_START")
    wait_until(api_answers, 60, "the API server answers")
    facts = judge(driver, stopped_at, rows=600, name="API server stopped for 60 s")
    assert facts["query"] == sum(range(600))
    assert not replaced(facts)
    assert facts["seconds"]["ended"] > 60  # or the test would show nothing
    far = outside.finish(180)
    print(f"outside: the query ended {far['ended'] - stopped_at:.1f} s after the API server was stopped")
    assert far["query"] == sum(range(100))
    assert far["next"] == 500
    assert far["launches"] == [1, 1]
    assert far["ended"] - stopped_at > 60
    seconds = wait_until(lambda: not namespace.workers(session), 60, f"the workers' Pods are gone:\n{driver.log()}")
    print(f"workers gone after {seconds:.1f} s")


def api_answers() -> bool:
    try:
        kubectl("get", "--raw", "/readyz", timeout_seconds=10)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False
    return True
