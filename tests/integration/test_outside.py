"""Drivers outside the cluster, through a relay that can cut their connections to the API server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from daft_k8s.kube.objects.rights import role_rules
from tests.integration import first_queries
from tests.integration.cluster import Namespace, wait_until
from tests.integration.outside import OutsideDriver, Relay

Start = Callable[[str], OutsideDriver]

COLLECT = """
begin = time.monotonic()
table = daft.range(8_000_000, partitions=8).collect().to_arrow()
say(collected_mb=table.nbytes / 1e6, collect_seconds=time.monotonic() - begin, rows=len(table))
"""


def leases(namespace: Namespace) -> list[dict]:
    return json.loads(namespace.kubectl("get", "leases", "-l", "app.kubernetes.io/managed-by=daft-k8s", "-o", "json"))[
        "items"
    ]


def status(namespace: Namespace, *arguments: str) -> str:
    command = [sys.executable, "-m", "daft_k8s.cli", "status", "-n", namespace.name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_driver_outside_runs_queries_and_leaves_nothing(empty_namespace: Namespace, start_outside: Start) -> None:
    driver = start_outside(first_queries.SCRIPT + COLLECT)
    driver.wait_for_fact("first")
    for pod in empty_namespace.workers():
        assert "daft.io/owner" in pod["metadata"]["labels"]
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "Lease"
    facts = driver.finish()
    first_queries.judge(facts)
    assert facts["rows"] == 8_000_000
    print(f"outside: {facts['collected_mb'] / facts['collect_seconds']:.0f} MB/s collected")
    wait_until(lambda: not empty_namespace.workers(), 30, "the workers' Pods are gone")
    assert empty_namespace.secrets(facts["session"]) == []
    assert leases(empty_namespace) == []


def test_a_query_survives_that_all_connections_to_the_api_server_are_cut(start_outside: Start, relay: Relay) -> None:
    driver = start_outside(
        """
        @daft.func
        def slow(number: int) -> int:
            time.sleep(2)
            return number
        session = use()
        assert session.manager.wait_ready(2, 60) == 2
        say(begun=True)
        df = daft.range(8, partitions=8).select(slow(col("id")).alias("number"))
        say(numbers=sorted(df.to_pydict()["number"]))
        say(launches=[worker.launch for worker in session.snapshot().workers])
        """
    )
    driver.wait_for_fact("begun")
    for _ in range(3):
        time.sleep(1.5)  # somewhere in the eight seconds that the query takes
        assert relay.cut() > 0
    facts = driver.finish()
    assert facts["numbers"] == list(range(8))
    assert facts["launches"] == [1, 1], "no worker was replaced"


def test_a_query_survives_that_all_connections_fall_silent_and_a_lost_worker_is_replaced(
    empty_namespace: Namespace, start_outside: Start, relay: Relay
) -> None:
    """The watch hears nothing more, without a sign; the list that follows within half a minute tells what it missed."""
    driver = start_outside(
        """
        @daft.func
        def slow(number: int) -> int:
            time.sleep(2)
            return number
        def launches():
            return sorted(worker.launch for worker in session.snapshot().workers)
        session = use()
        assert session.manager.wait_ready(2, 60) == 2
        say(session=session.session_id, begun=True)
        df = daft.range(8, partitions=8).select(slow(col("id")).alias("number"))
        begin = time.monotonic()
        say(numbers=sorted(df.to_pydict()["number"]), query_seconds=time.monotonic() - begin)
        end = time.monotonic() + 90
        while launches() != [1, 2] or session.manager.ready_count() < 2:
            assert time.monotonic() < end, session.snapshot()
            time.sleep(0.1)
        say(replaced_at=time.time(), after=count_rows())
        """
    )
    driver.wait_for_fact("begun")
    time.sleep(1.5)  # somewhere in the eight seconds that the query takes
    broken_at = time.time()
    assert relay.freeze() > 0
    name = f"daft-{driver.facts()['session']}-worker-1-1"
    empty_namespace.kubectl("delete", "pod", name, "--wait=false", "--grace-period=1")
    facts = driver.finish(115)
    assert facts["numbers"] == list(range(8))
    assert facts["after"] == 500
    print(
        f"all connections silent: the query took {facts['query_seconds']:.1f} s, "
        f"a deleted worker was replaced after {facts['replaced_at'] - broken_at:.1f} s"
    )


@pytest.mark.nightly
@pytest.mark.timeout(240)
def test_a_driver_that_was_asleep_finds_its_workers_with_what_they_hold_and_says_so(
    empty_namespace: Namespace, start_outside: Start
) -> None:
    """130 s: longer than workers wait for a driver in the cluster."""
    driver = start_outside(
        """
        session = use()
        held = daft.range(1000, partitions=4).collect()
        say(before={worker.worker_id: worker.launch for worker in session.snapshot().workers})
        time.sleep(10)  # in which the test puts it to sleep for longer
        say(rows=held.count_rows(), after={worker.worker_id: worker.launch for worker in session.snapshot().workers})
        """
    )
    driver.wait_for_fact("before")
    driver.sleep_for(130)
    facts = driver.finish(30)
    assert facts["rows"] == 1000
    assert facts["after"] == facts["before"], "no worker was replaced"
    (line,) = [line for line in driver.log().splitlines() if "was asleep for" in line]
    assert "The session goes on: workers wait 15 min" in line


def test_what_a_killed_driver_leaves_ends_by_itself_and_is_swept_by_the_next(
    empty_namespace: Namespace, start_outside: Start
) -> None:
    driver = start_outside(
        """
        session = use(orphan_timeout_seconds=10)
        say(session=session.session_id)
        assert session.manager.wait_ready(2, 60) == 2
        say(ready=True)
        time.sleep(300)
        """
    )
    driver.wait_for_fact("ready")
    session = driver.facts()["session"]
    driver.kill()
    seconds = wait_until(
        lambda: all(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in empty_namespace.workers(session)),
        30,
        "the workers have ended by themselves",
    )
    print(f"workers of a killed driver ended after {seconds:.1f} s")
    assert len(empty_namespace.workers(session)) == 2
    [lease] = leases(empty_namespace)
    long_ago = '{"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}'
    empty_namespace.kubectl("patch", "lease", lease["metadata"]["name"], "--type=merge", "-p", long_ago)
    (shown,) = json.loads(status(empty_namespace, "--output", "json"))
    assert (shown["session"], shown["life"]) == (session, "dead")
    assert {worker["state"] for worker in shown["workers"]} == {"orphan: ended"}
    assert f"daft-k8s clean {session} removes what is left" in status(empty_namespace)
    next_driver = start_outside(
        """
        session = use()
        say(session=session.session_id, rows=count_rows())
        time.sleep(300)
        """
    )
    next_driver.wait_for_fact("rows")
    wait_until(lambda: not empty_namespace.workers(session) and not empty_namespace.secrets(session), 20, "it is swept")
    [lease] = leases(empty_namespace)
    assert lease["metadata"]["labels"]["daft.io/session"] == next_driver.facts()["session"]


def test_a_missing_right_to_forward_is_named(empty_namespace: Namespace, start_outside: Start) -> None:
    empty_namespace.set_rules(role_rules())
    driver = start_outside(
        """
        use()
        try:
            count_rows()
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")
        """
    )
    error = driver.wait_for_fact("error")
    assert "may not get pods/portforward" in error
    assert 'resources: ["pods/portforward"]' in error
