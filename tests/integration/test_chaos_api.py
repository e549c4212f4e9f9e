"""The API server is away: in the middle of queries, and as drivers end. Prints the seconds that each step took.

How a cluster is broken: tests/integration/faults.py.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster import Namespace, wait_until
from tests.integration.faults import needs, without_api_server
from tests.integration.outside import OutsideDriver, api_server

Start = Callable[[str], OutsideDriver]

INSIDE = """
session = use(num_workers=3, start_timeout_seconds=180)
assert session.manager.wait_ready(3, 180) == 3

@daft.func
def slowly(x: int) -> int:
    time.sleep(0.5)
    return x

say(session=session.session_id, before=count_rows())
rows = daft.range(600, partitions=600).select(slowly(col("id"))).to_pydict()  # 100 s: at its end the server is back
say(query=sum(rows["id"]), ended=time.time(), next=count_rows())
say(launches=[worker.launch for worker in session.snapshot().workers])
"""

# Its ways to workers lead through the API server, so they are away with it; no option is set for that.
OUTSIDE = """
session = use(num_workers=2)
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
say(launches=[worker.launch for worker in session.snapshot().workers])
"""


@pytest.mark.timeout(360)
def test_the_api_server_is_away_for_a_minute(namespace: Namespace, start_outside: Start, tmp_path: Path) -> None:
    needs("INTEGRATION_API_STOP", "INTEGRATION_API_START")
    go = tmp_path / "go"
    outside = start_outside(OUTSIDE.format(go=go))
    outside.wait_for_fact("before", 120)
    driver = namespace.start(INSIDE)
    driver.wait_for_fact("before", 180)
    session = driver.facts()["session"]
    go.touch()
    with without_api_server() as stopped_at:
        time.sleep(60)  # this is what is tested: a minute without it
    near = driver.finish(240)
    print(f"inside: the query ended {near['ended'] - stopped_at:.1f} s after the API server was stopped")
    assert near["query"] == sum(range(600))
    assert near["next"] == 500
    assert near["launches"] == [1, 1, 1]
    assert near["ended"] - stopped_at > 60  # or the test would show nothing
    far = outside.finish(180)
    print(f"outside: the query ended {far['ended'] - stopped_at:.1f} s after the API server was stopped")
    assert far["query"] == sum(range(100))
    assert far["next"] == 500
    assert far["launches"] == [1, 1]
    assert far["ended"] - stopped_at > 60
    seconds = wait_until(lambda: not namespace.workers(session), 60, f"the workers' Pods are gone:\n{driver.log()}")
    print(f"workers gone after {seconds:.1f} s")


# Ends once nobody answers at the API server's address.
ENDING = """
import socket

session = use(orphan_timeout_seconds=10)
assert session.manager.wait_ready(2, 60) == 2
say(session=session.session_id, ready=True)
host, port = os.environ.get("KUBERNETES_SERVICE_HOST", "{host}"), int(os.environ.get("KUBERNETES_SERVICE_PORT", {port}))
end = time.monotonic() + 120
while time.monotonic() < end:
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        break
    time.sleep(0.1)
else:
    raise AssertionError("the API server never went away")
begin = time.monotonic()
session.shutdown()
say(shutdown_seconds=time.monotonic() - begin)
"""


@pytest.mark.nightly
@pytest.mark.timeout(360)
def test_what_drivers_leave_that_end_without_the_api_server_ends_by_itself_and_goes_once_it_is_back(
    namespace: Namespace, empty_namespace: Namespace, start_outside: Start
) -> None:
    script = ENDING.format(**dict(zip(("host", "port"), api_server(), strict=True)))
    outside, inside = start_outside(script), namespace.start(script)
    for driver in (outside, inside):
        driver.wait_for_fact("ready", 120)
    far, near = outside.facts()["session"], inside.facts()["session"]
    with without_api_server() as stopped_at:
        seconds = outside.finish(60)["shutdown_seconds"]
        # What is tested: that workers end without it, after orphan_timeout_seconds and what they need to end.
        time.sleep(max(0.0, stopped_at + 40 - time.time()))
        back_at = datetime.datetime.now(datetime.timezone.utc)
    assert seconds < 15
    assert "the next session in the namespace removes them" in outside.log()
    pods = [*empty_namespace.workers(far), *namespace.workers(near)]
    assert len(pods) == 4
    wait_until(
        lambda: all(has_ended(pod) for pod in pods_again(empty_namespace, far, namespace, near)), 30, "all ended"
    )
    ends = [end_of(pod) for pod in pods_again(empty_namespace, far, namespace, near)]
    assert max(ends) < back_at
    print(
        f"driver gone after {seconds:.1f} s; workers ended {max(ends).timestamp() - stopped_at:.0f} s after the server"
    )

    assert inside.finish()["shutdown_seconds"] < 15
    inside.delete()
    wait_until(lambda: not namespace.workers(near) and not namespace.secrets(near), 120, "the cluster has removed all")

    long_ago = '{"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}'
    empty_namespace.kubectl("patch", "lease", f"daft-{far}", "--type=merge", "-p", long_ago)
    start_outside("session = use()\nsay(rows=count_rows())\ntime.sleep(300)").wait_for_fact("rows", 90)
    wait_until(lambda: not empty_namespace.workers(far) and not empty_namespace.secrets(far), 30, "it is swept")


def pods_again(one: Namespace, far: str, other: Namespace, near: str) -> list[dict]:
    return [*one.workers(far), *other.workers(near)]


def has_ended(pod: dict) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def end_of(pod: dict) -> datetime.datetime:
    text = pod["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
