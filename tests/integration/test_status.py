"""What `daft-k8s status` and `top` tell of sessions at work: tasks, queries and memory, as drivers publish them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.kube.objects.rights import role_rules
from tests.integration.cluster import Namespace, wait_until
from tests.integration.outside import OutsideDriver, write_kubeconfig

pytestmark = pytest.mark.timeout(175)  # a query that lasts, and looks that take a second each

WORK = """
session = use(allocation={allocation!r})
held = daft.range(4_000_000, partitions=4).collect()

@daft.func
def slowly(x: int) -> int:
    time.sleep(6)
    return x

say(session=session.session_id)
rows = daft.range(8, partitions=8).select(slowly(col("id"))).to_pydict()
say(total=sum(rows["id"]))
time.sleep(120)  # with what it holds, until the test ends it
"""


def call(command: str, namespace: Namespace, *arguments: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "daft_k8s.cli", command, "-n", namespace.name, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def follow(namespace: Namespace, session: str, **environment: str) -> None:
    """Looks until the session has been seen at work, and then idle with what it holds."""

    def look() -> dict[str, Any]:
        (found,) = json.loads(call("status", namespace, "--output", "json", session, **environment))
        live: dict[str, Any] = found["live"] or {"queries": [], "done": 0, "held_bytes": 0}
        return {**live, "workers": found["workers"], "seen": found["seen_seconds"]}

    seen: list[dict[str, Any]] = [{}]

    def sees(what: Callable[[dict[str, Any]], Any]) -> Callable[[], bool]:
        def is_so() -> bool:
            seen[0] = look()
            return bool(what(seen[0]))

        return is_so

    try:
        wait_until(sees(lambda now: now["queries"] and now["running"] == 2 and now["waiting"]), 30, "a query at work")
        assert (seen[0]["ready"], seen[0]["wanted"], seen[0]["failed"]) == (2, 2, 0)
        assert all(worker["live"]["tasks"] for worker in seen[0]["workers"])
        assert seen[0]["seen"] < 60
        assert f"\n{session}:" in call("top", namespace, "--count", "1", **environment)
        wait_until(sees(lambda now: now["done"] >= 12 and not now["queries"]), 90, "the end of the query is told")
        assert (seen[0]["running"], seen[0]["waiting"]) == (0, 0)
        wait_until(sees(lambda now: now["held_bytes"] >= 4_000_000 * 8), 20, "what the session holds is told")
        assert all(worker["live"]["resident_bytes"] > 1 << 20 for worker in seen[0]["workers"])
    except AssertionError as error:
        raise AssertionError(f"{error}\n{seen[0]}") from None


@pytest.mark.parametrize("allocation", ["pod", "statefulset"])
def test_a_session_in_the_cluster_tells_its_tasks_queries_and_memory(
    stateful_namespace: Namespace, allocation: str
) -> None:
    driver = stateful_namespace.start(WORK.format(allocation=allocation))
    follow(stateful_namespace, driver.wait_for_fact("session", 120))
    assert driver.facts()["total"] == sum(range(8))
    driver.delete()


def test_a_session_of_a_driver_outside_is_told_of_with_the_rights_of_a_driver(
    empty_namespace: Namespace, tmp_path: Path
) -> None:
    empty_namespace.set_rules(role_rules(outside=True))
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, empty_namespace)
    driver = OutsideDriver(WORK.format(allocation="pod"), image=empty_namespace.image, kubeconfig=kubeconfig)
    try:
        follow(empty_namespace, driver.wait_for_fact("session", 120), KUBECONFIG=str(kubeconfig))
        assert driver.facts()["total"] == sum(range(8))
    finally:
        driver.end()
