"""Workers as the Pods of a StatefulSet: names that stay, restarts in place, and an end that leaves nothing."""

from __future__ import annotations

import json

from tests.integration.cluster import Namespace, wait_until

SCRIPT = """
import socket

session = use(allocation="statefulset", num_workers=3, start_timeout_seconds=120)

@daft.func
def slowly(x: int) -> int:
    time.sleep(0.3)
    if socket.gethostname().endswith("worker-1") and not os.path.exists("/tmp/died"):
        open("/tmp/died", "w").close()
        os._exit(137)
    return x

def launches():
    return [worker.launch for worker in session.snapshot().workers]

def wait_for(what, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, session.snapshot()
        time.sleep(0.2)

def shuffle():
    df = daft.range(100_000, partitions=6).with_column("key", col("id") % 7)
    return df.groupby("key").agg(col("id").sum().alias("sum")).sort("key").to_pydict()["sum"]

begin = time.monotonic()
say(session=session.session_id, first=count_rows(), first_seconds=time.monotonic() - begin)
wait_for(lambda: session.manager.ready_count() == 3)
say(ready_seconds=time.monotonic() - begin, shuffled=shuffle())
say(addresses={w.worker_id: w.peer_address for w in session.snapshot().workers})
rows = daft.range(30, partitions=30).select(slowly(col("id"))).to_pydict()
say(slow=sum(rows["id"]), launches=launches())
wait_for(lambda: session.manager.ready_count() == 3)
say(restarted=launches(), shuffled_again=shuffle())
wait_for(lambda: sum(launches()) >= 5 and session.manager.ready_count() == 3)
say(replaced=launches(), shuffled_at_last=shuffle())
session.shutdown()
say(done=True)
"""


def test_a_stateful_set_runs_queries_restarts_in_place_and_leaves_nothing(stateful_namespace: Namespace) -> None:
    namespace = stateful_namespace
    driver = namespace.start(SCRIPT)
    session = driver.wait_for_fact("session", 90)
    driver.wait_for_fact("shuffled_again", 120)
    [service] = json.loads(namespace.kubectl("get", "services", "-o", "json"))["items"]
    [made] = json.loads(namespace.kubectl("get", "statefulsets", "-o", "json"))["items"]
    assert service["metadata"]["ownerReferences"] == made["metadata"]["ownerReferences"]
    pods = {pod["metadata"]["name"]: pod for pod in namespace.workers(session)}
    assert sorted(pods) == [f"daft-{session}-worker-{number}" for number in range(3)]
    assert max(pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods.values()) >= 1
    namespace.kubectl("delete", "pod", f"daft-{session}-worker-0", "--wait=false")
    facts = driver.finish(180)
    expected = [sum(range(key, 100_000, 7)) for key in range(7)]
    assert facts["shuffled"] == facts["shuffled_again"] == facts["shuffled_at_last"] == expected
    assert facts["slow"] == sum(range(30))
    print(f"first row after {facts['first_seconds']:.1f} s, three workers after {facts['ready_seconds']:.1f} s")
    for worker, address in facts["addresses"].items():
        assert address == f"daft-{session}-{worker}.daft-{session}.{namespace.name}.svc:7778"
    assert max(facts["restarted"]) == 2
    wait_until(
        lambda: (
            not namespace.workers(session)
            and not namespace.secrets(session)
            and not json.loads(namespace.kubectl("get", "statefulsets,services", "-o", "json"))["items"]
        ),
        30,
        "nothing is left",
    )
