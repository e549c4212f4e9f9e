"""Ends of workers as Pods, on a cluster in memory: exits, stops, and the end of the session."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from daft_k8s.kube.session.session_objects import END_GRACE_SECONDS
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, launch_held, make_launcher
from tests.unit.kube.launch.one_worker import POD, begin

ROOT = Path(__file__).resolve().parents[4]


def test_a_failed_pod_is_an_exit_with_the_reason(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    cluster.set_status(POD, phase="Failed", containerStatuses=[{"name": "worker", "state": {"terminated": ended}}])
    [(_, worker_id, launch_id, reason, restartable)] = pool.wait_for("exited")
    assert (worker_id, launch_id, restartable) == ("worker-0", 1, True)
    assert "OOMKilled" in str(reason)


def test_the_last_few_pods_that_have_ended_stay_to_be_read_and_older_ones_go(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    for number in range(1, 8):
        launcher.launch("worker-0", number)
        name = f"daft-s1-worker-0-{number}"
        cluster.wait_until(lambda name=name: name in cluster.pods and "watch pods" in cluster.calls)
        cluster.set_status(name, phase="Failed", containerStatuses=[{"name": "worker", "state": {"terminated": ended}}])
        pool.wait_for("exited", number)
    kept = [f"daft-s1-worker-0-{number}" for number in range(3, 8)]
    cluster.wait_until(lambda: sorted(cluster.pods) == kept)
    assert len(pool.wait_for("exited")) == 7


def test_pods_that_are_being_deleted_push_out_none_whose_log_is_to_stay(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    cluster.set_status(POD, phase="Failed", containerStatuses=[{"name": "worker", "state": {"terminated": ended}}])
    for number in range(2, 9):
        launcher.launch("worker-0", number)
        name = f"daft-s1-worker-0-{number}"
        cluster.wait_until(lambda name=name: name in cluster.pods)
        cluster.pods[name]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        cluster.set_status(name, phase="Succeeded")
        pool.wait_for("exited", number)
    launcher.launch("worker-0", 9)  # what follows from those before it has been done when its Pod is there
    cluster.wait_until(lambda: "daft-s1-worker-0-9" in cluster.pods)
    assert POD in cluster.pods
    assert "delete pods" not in cluster.calls


def test_a_worker_that_the_pool_uses_outlives_its_start_timeout_where_no_event_says_that_it_is_ready(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD, ready=False)
    pool.wait_for("started")
    launcher.worker_ready("worker-0")
    launcher.launch("worker-1", 1)
    cluster.wait_until(lambda: "daft-s1-worker-1-1" in cluster.pods)
    assert [news.key for news in launcher._launches.tick(time.monotonic() + 10_000)] == [("worker-1", 1)]


def test_a_deleted_pod_is_an_exit(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster._delete(POD)
    assert "the Pod was deleted" in str(pool.wait_for("exited")[0][3])


def test_a_hopeless_pod_is_deleted(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    waiting = {"reason": "InvalidImageName", "message": 'couldn\'t parse image name "A:B:C"'}
    cluster.set_status(POD, phase="Pending", containerStatuses=[{"name": "worker", "state": {"waiting": waiting}}])
    [news] = pool.wait_for("exited")
    assert news[4] is False
    assert "couldn't parse image name" in str(news[3])
    cluster.wait_until(lambda: not cluster.pods)


def test_a_pod_that_takes_a_workers_place_under_its_name_is_not_that_worker(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.pods[POD]["metadata"]["uid"] = "another"
    cluster.make_ready(POD)
    assert "the Pod was deleted" in str(pool.wait_for("exited")[0][3])
    assert [news[0] for news in pool.news] == ["exited"]


def test_a_worker_that_was_restarted_in_place_has_ended_as_its_last_state_says(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    own = {"name": "worker", "ready": True, "restartCount": 1, "state": {"running": {}}, "lastState": last}
    cluster.set_status(POD, phase="Running", podIP="10.0.0.9", containerStatuses=[own])
    assert "OOMKilled" in str(pool.wait_for("exited")[0][3])
    assert pool.causes == ["oom"]


def test_the_poll_finds_what_a_deaf_watch_does_not_tell(cluster: FakeCluster, pool: Pool) -> None:
    cluster.watch_is_deaf = True
    launcher = make_launcher(cluster, pool, poll_seconds=0.05)
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD)
        assert pool.wait_for("started")
    finally:
        launcher.shutdown(2)


def test_failed_lists_and_broken_watches_end_no_worker(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster.problems["list pods"] = [ApiError("list pods", 500, "half of it")]
    lists = cluster.calls.count("list pods")
    cluster.break_watches(410)
    cluster.wait_until(lambda: cluster.calls.count("list pods") >= lists + 2 and cluster.calls[-1] == "watch pods")
    assert [news[0] for news in pool.news] == ["started"]
    cluster._delete(POD)
    assert pool.wait_for("exited")


def test_a_stopped_workers_pod_is_deleted(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    launcher.stop("worker-0", 1, "no longer wanted")
    cluster.wait_until(lambda: not cluster.pods)
    assert "no longer wanted" in str(pool.wait_for("exited")[0][3])


def test_a_killed_workers_pod_is_deleted_with_hardly_any_grace(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    launcher.kill("worker-0", 1, "it does not end")
    assert "it does not end" in str(pool.wait_for("exited")[0][3])
    cluster.wait_until(lambda: len(cluster.grace_periods) == 2)
    assert cluster.grace_periods == [30, END_GRACE_SECONDS], "the second shortens what the first has begun"


def test_the_next_pod_of_a_worker_that_did_not_answer_prefers_another_node(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    assert "affinity" not in cluster.pods[POD]["spec"]
    cluster.pods[POD]["spec"]["nodeName"] = "node-3"
    cluster.make_ready(POD)
    pool.wait_for("started")
    launcher.stop("worker-0", 1, "it has not answered")
    launcher.launch("worker-0", 2)
    cluster.wait_until(lambda: "daft-s1-worker-0-2" in cluster.pods)
    affinity = cluster.pods["daft-s1-worker-0-2"]["spec"]["affinity"]["nodeAffinity"]
    [preferred] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred["preference"]["matchFields"] == [
        {"key": "metadata.name", "operator": "NotIn", "values": ["node-3"]}
    ]


def test_shutting_down_deletes_pods_and_secret(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    assert list(cluster.secrets) == ["daft-s1-00000000"]
    launcher.shutdown(5)
    assert not cluster.pods
    assert not cluster.secrets
    assert cluster.closed
    assert not pool.news
    launcher.shutdown(5)


def test_shutting_down_while_pods_are_created_leaves_none(launcher: PodLauncher, cluster: FakeCluster) -> None:
    may_go_on = launch_held(launcher, cluster)
    ending = threading.Thread(target=launcher.shutdown, args=(10,))
    ending.start()
    may_go_on.set()
    ending.join(20)
    assert not ending.is_alive()
    assert not cluster.pods


def test_a_stop_that_overtakes_the_creation_leaves_no_pod(launcher: PodLauncher, cluster: FakeCluster) -> None:
    may_go_on = launch_held(launcher, cluster)
    launcher.stop("worker-0", 1, "too late")
    cluster.wait_until(lambda: "delete pods" in cluster.calls)
    may_go_on.set()
    cluster.wait_until(lambda: cluster.calls.count("delete pods") >= 2 and not cluster.pods)


def test_a_session_that_ends_with_the_interpreter_is_cleared_away() -> None:
    # By then Python refuses work for other threads, and HTTP clients ask for some.
    script = """
import atexit
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher

class Client(FakeCluster):
    async def delete_pods(self, *arguments):
        await __import__("asyncio").get_running_loop().run_in_executor(None, len, [])
        await super().delete_pods(*arguments)

cluster = Client()
launcher = make_launcher(cluster, Pool())
atexit.register(lambda: print("left:", list(cluster.pods), list(cluster.secrets)))
atexit.register(launcher.shutdown, 5)
launcher.launch("worker-0", 1)
cluster.wait_until(lambda: len(cluster.pods) == 1)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "left: [] []\n", done.stderr


def test_an_api_that_stumbles_at_the_end_is_asked_again(launcher: PodLauncher, cluster: FakeCluster) -> None:
    begin(launcher, cluster)
    cluster.problems["deletecollection pods"] = [ApiError("deletecollection pods", 503, "etcd has no leader")]
    cluster.problems["delete secrets"] = [ApiError("delete secrets", 0, "the connection broke")]
    launcher.shutdown(10)
    assert not cluster.pods
    assert not cluster.secrets


def test_pods_go_one_by_one_where_many_at_once_are_forbidden(launcher: PodLauncher, cluster: FakeCluster) -> None:
    begin(launcher, cluster)
    cluster.problems["deletecollection pods"] = [ApiError("deletecollection pods", 403, "forbidden")]
    launcher.shutdown(5)
    assert not cluster.pods


def test_a_pod_that_somebody_else_deletes_leaves_before_it_has_exited(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster.pods[POD]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.set_status(POD, phase="Running")
    assert pool.wait_for("leaving") == [("leaving", "worker-0", 1)]
