"""The launcher on a cluster in memory. A real one: tests/integration."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError, UnsupportedError
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.launch.launcher import PodLauncher
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.session_objects import END_GRACE_SECONDS
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, launch_held, make_launcher

ROOT = Path(__file__).resolve().parents[4]
POD = "daft-s1-worker-0-1"


@pytest.fixture
def launcher(cluster: FakeCluster, pool: Pool) -> Iterator[PodLauncher]:
    launcher = make_launcher(cluster, pool)
    yield launcher
    launcher.shutdown(2)


def begin(launcher: PodLauncher, cluster: FakeCluster) -> None:
    """One launch, whose Pod is there and watched."""
    launcher.launch("worker-0", 1)
    cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)


def test_a_ready_pod_becomes_a_started_worker(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    assert pool.wait_for("started") == [("started", "worker-0", 1, "10.0.0.9:7777", "10.0.0.9:7778")]


def test_a_worker_is_asked_whether_it_serves_before_its_node_says_so(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD, ready=False)
    assert pool.wait_for("started") == [("started", "worker-0", 1, "10.0.0.9:7777", "10.0.0.9:7778")]


def test_a_driver_outside_asks_it_too(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD, ready=False)
        assert str(pool.wait_for("started")[0][3]).startswith("127.0.0.1:")
    finally:
        launcher.shutdown(2)


def test_a_worker_that_has_to_install_packages_is_not_asked_before_its_node_says_that_it_serves(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, pip=("emoji",))
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD, "10.0.0.8", ready=False)
        cluster.make_ready(POD, "10.0.0.9")
        assert pool.wait_for("started")[0][3] == "10.0.0.9:7777"
    finally:
        launcher.shutdown(2)


def test_an_address_of_ipv6_is_bracketed(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD, "fd00::1")
    assert pool.wait_for("started")[0][3:] == ("[fd00::1]:7777", "[fd00::1]:7778")


def test_workers_are_created_at_once(launcher: PodLauncher, cluster: FakeCluster) -> None:
    together = threading.Barrier(3)
    cluster.before_create = lambda: together.wait(20) and None
    for number in range(3):
        launcher.launch(f"worker-{number}", 1)
    cluster.wait_until(lambda: len(cluster.pods) == 3)


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


QUOTA = ApiError(
    "create pods",
    403,
    'pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0',
    reason="Forbidden",
)
RBAC = ApiError("create pods", 403, 'pods is forbidden: User "u" cannot create resource "pods"', reason="Forbidden")


@pytest.mark.parametrize(("problem", "words", "restartable"), [(QUOTA, "no room left", False), (RBAC, "Role", False)])
def test_a_refused_creation_is_an_exit_in_kubernetes_words(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool, problem: ApiError, words: str, restartable: bool
) -> None:
    cluster.problems["create pods"] = [problem]
    launcher.launch("worker-0", 1)
    [news] = pool.wait_for("exited")
    assert words in str(news[3])
    assert problem.message in str(news[3])
    assert news[4] is restartable


def test_a_creation_whose_answer_was_lost_is_found_again(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.problems["create pods"] = [ApiError("create pods", 0, "the connection broke")]
    first = cluster.pods[POD]["metadata"]
    labels = first["labels"] | {"daft.io/worker": "worker-1"}
    cluster.pods["daft-s1-worker-1-1"] = {
        "metadata": first | {"name": "daft-s1-worker-1-1", "uid": "u", "labels": labels},
        "status": {},
    }
    launcher.launch("worker-1", 1)
    cluster.wait_until(lambda: "get pods" in cluster.calls)
    cluster.make_ready("daft-s1-worker-1-1")
    assert pool.wait_for("started")[0][1] == "worker-1"


@pytest.mark.parametrize("part", ["labels", "ownerReferences"])
def test_a_foreign_pod_of_a_workers_name_is_left_alone_and_the_next_launch_takes_another_name(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool, part: str
) -> None:
    begin(launcher, cluster)
    metadata = cluster.pods[POD]["metadata"]
    other = {"labels": {"app": "theirs"}, "ownerReferences": [{"kind": "Job", "name": "theirs", "uid": "theirs"}]}
    labels = metadata["labels"] | {"daft.io/worker": "worker-1"}
    foreign = {**metadata, "name": "daft-s1-worker-1-1", "uid": "f", "labels": labels, part: other[part]}
    cluster.pods["daft-s1-worker-1-1"] = {"metadata": foreign, "status": {}}
    launcher.launch("worker-1", 1)
    [(_, worker, launch, reason, restartable)] = pool.wait_for("exited")
    assert (worker, launch, restartable) == ("worker-1", 1, True)
    assert "there is another Pod of this name, which this session has not made" in str(reason)
    launcher.launch("worker-1", 2)
    cluster.wait_until(lambda: "daft-s1-worker-1-2" in cluster.pods)
    assert "daft-s1-worker-1-1" in cluster.pods


def test_a_pod_that_is_seen_while_its_creation_is_not_answered_is_adopted_only_with_the_right_owner(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.hangs.add("create pods")
    for number, owners in ((1, []), (2, cluster.pods[POD]["metadata"]["ownerReferences"])):
        name = f"daft-s1-worker-{number}-1"
        launcher.launch(f"worker-{number}", 1)
        cluster.wait_until(lambda number=number: cluster.calls.count("create pods") == 1 + number)
        metadata = cluster.pods[POD]["metadata"] | {"name": name, "uid": name, "ownerReferences": owners}
        cluster.pods[name] = {"metadata": metadata, "spec": {}, "status": {}}
        cluster.make_ready(name)
    assert pool.wait_for("started")[0][1] == "worker-2"
    cluster.hangs.clear()


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


def test_a_creation_whose_pod_is_gone_before_it_was_found_again_is_tried_once_more(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    """Its first answer was lost, and somebody deleted it: it was still there for the second try, and then no more."""
    exists = ApiError("create pods", 409, 'pods "p" already exists', reason="AlreadyExists")
    cluster.problems["create pods"] = [ApiError("create pods", 0, "the connection broke"), exists]
    launcher.launch("worker-0", 1)
    cluster.wait_until(lambda: POD in cluster.pods and "watch pods" in cluster.calls)
    cluster.make_ready(POD)
    assert pool.wait_for("started")[0][1:3] == ("worker-0", 1)
    assert [news[0] for news in pool.news] == ["started"]


def test_a_setup_that_stumbles_is_tried_again(launcher: PodLauncher, cluster: FakeCluster, pool: Pool) -> None:
    launcher.shutdown(2)
    stumbling = FakeCluster()
    stumbling.problems["create secrets"] = [ApiError("create secrets", 503, "etcd has no leader")]
    launcher = make_launcher(stumbling, pool)
    try:
        launcher.launch("worker-0", 1)
        stumbling.wait_until(lambda: POD in stumbling.pods)
    finally:
        launcher.shutdown(2)


def test_a_setup_that_never_succeeds_ends_every_launch_with_the_apis_words_before_the_pool_loses_patience(
    cluster: FakeCluster, pool: Pool
) -> None:
    cluster.problems["create secrets"] = [ApiError("create secrets", 503, "etcd has no leader")] * 100
    launcher = make_launcher(cluster, pool, start_timeout_seconds=1)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "not ready after 1 s; the Kubernetes API does not take it" in str(news[3])
        assert "etcd has no leader" in str(news[3])
        assert (news[4], pool.causes) == (True, ["never_started"])
    finally:
        launcher.shutdown(2)


def test_a_cluster_that_is_never_reached_ends_every_launch_too(cluster: FakeCluster, pool: Pool) -> None:
    """A plugin for credentials may wait for ever."""

    async def connect() -> FakeCluster:
        await asyncio.Event().wait()
        return cluster

    configuration = Configuration(allocation="pod", num_workers=1, start_timeout_seconds=1)
    access = Access(connect, find_home=None)  # type: ignore[arg-type]
    launcher = PodLauncher(configuration, session_id="s1", token="t", manager_getter=lambda: pool, access=access)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "not ready after 1 s; the cluster has not been reached yet" in str(news[3])
    finally:
        began = time.monotonic()
        launcher.shutdown(1)
        assert time.monotonic() - began < 10


def test_a_setup_that_is_refused_ends_every_launch(launcher: PodLauncher, pool: Pool) -> None:
    launcher.shutdown(2)
    forbidding = FakeCluster()
    refusal = ApiError("create secrets", 403, 'secrets is forbidden: User "u" cannot create resource "secrets"')
    forbidding.problems["create secrets"] = [refusal] * 10  # each launch tries again
    launcher = make_launcher(forbidding, pool)
    try:
        launcher.launch("worker-0", 1)
        [news] = pool.wait_for("exited")
        assert "may not create secrets" in str(news[3])
        assert not forbidding.pods
    finally:
        launcher.shutdown(2)


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


def test_the_token_stands_in_no_pod(launcher: PodLauncher, cluster: FakeCluster) -> None:
    begin(launcher, cluster)
    assert "secret-token" not in str(cluster.pods)


def test_a_stateful_set_cannot_be_elastic(cluster: FakeCluster, pool: Pool) -> None:
    with pytest.raises(UnsupportedError, match="max_workers"):
        make_launcher(cluster, pool, allocation="statefulset", max_workers=4)


def test_a_pod_that_somebody_else_deletes_leaves_before_it_has_exited(
    launcher: PodLauncher, cluster: FakeCluster, pool: Pool
) -> None:
    begin(launcher, cluster)
    cluster.make_ready(POD)
    pool.wait_for("started")
    cluster.pods[POD]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.set_status(POD, phase="Running")
    assert pool.wait_for("leaving") == [("leaving", "worker-0", 1)]


def test_a_worker_that_a_queue_holds_back_is_postponed_until_it_is_admitted_and_that_is_told_once(
    cluster: FakeCluster, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    launcher = make_launcher(cluster, pool)
    gates = [{"name": "kueue.x-k8s.io/admission"}]
    create_pod = cluster.create_pod

    async def create_gated(namespace: str, pod: dict[str, Any], **options: Any) -> dict[str, Any]:
        pod["spec"]["schedulingGates"] = gates  # as a queue's webhook does
        return await create_pod(namespace, pod, **options)

    cluster.create_pod = create_gated  # type: ignore[method-assign]
    try:
        for number in range(2):
            launcher.launch(f"worker-{number}", 1)
        postponed = pool.wait_for("postponed", 2)
        assert "kueue.x-k8s.io/admission" in str(postponed[0][3])
        cluster.wait_until(lambda: "watch pods" in cluster.calls)
        cluster.pods[POD]["spec"]["schedulingGates"] = []
        cluster.make_ready(POD)
        assert pool.wait_for("started")[0][1] == "worker-0"
        assert pool.wait_for("admitted") == [("admitted", "worker-0", 1)]
        assert len([record for record in caplog.records if "waits" in record.getMessage()]) == 1
    finally:
        launcher.shutdown(2)


def test_a_template_that_takes_what_is_the_runners_is_refused_before_anything_starts(
    cluster: FakeCluster, pool: Pool
) -> None:
    with pytest.raises(ConfigurationError, match=r"spec\.restartPolicy"):
        make_launcher(cluster, pool, pod_template={"spec": {"restartPolicy": "Always"}})
    assert cluster.calls == []


def test_a_driver_outside_reaches_workers_by_forwards_and_they_each_other_by_their_addresses(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.make_ready(POD)
        [(_, _, _, control, data, peer)] = pool.wait_for("started")
        assert str(control).startswith("127.0.0.1:")
        assert str(data).startswith("127.0.0.1:")
        assert control != data
        assert peer == "10.0.0.9:7778"
    finally:
        launcher.shutdown(2)


def test_a_worker_that_cannot_be_forwarded_to_is_an_exit_in_kubernetes_words(cluster: FakeCluster, pool: Pool) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        words = 'pods "p" is forbidden: User "u" cannot get resource "pods/portforward"'
        cluster.problems["get pods/portforward"] = [ApiError("get pods/portforward", 403, words, reason="Forbidden")]
        cluster.make_ready(POD)
        [news] = pool.wait_for("exited")
        assert words in str(news[3])
        assert news[4] is False
        cluster.wait_until(lambda: not cluster.pods)
    finally:
        launcher.shutdown(2)


def test_a_worker_that_falls_silent_outside_is_an_exit_with_its_pod_and_node_and_its_pod_goes(
    cluster: FakeCluster, pool: Pool
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=True)
    try:
        begin(launcher, cluster)
        cluster.pods[POD]["spec"]["nodeName"] = "n"
        cluster.make_ready(POD)
        pool.wait_for("started")
        forwards = launcher._routes._forwards
        assert forwards is not None
        forwards._on_silent("worker-0/1", "nothing has come from it for 20 s")
        forwards._on_silent("worker-0/1", "nothing has come from it for 21 s")
        news = pool.wait_for("exited")[0]  # its Pod's end may have been told, too
        assert news[1:3] == ("worker-0", 1)
        assert news[3] == f"worker-0 (Pod {POD} on n): nothing has come from it for 20 s"
        assert news[4] is True
        assert pool.causes[0] == "infrastructure"
        cluster.wait_until(lambda: POD not in cluster.pods)
    finally:
        launcher.shutdown(2)


@pytest.mark.parametrize(("forwarded", "seconds"), [(False, 20), (True, 120)])
def test_outside_the_pool_waits_for_as_long_as_workers_wait_for_it(
    cluster: FakeCluster, pool: Pool, forwarded: bool, seconds: float
) -> None:
    launcher = make_launcher(cluster, pool, forwarded=forwarded, unreachable_timeout_seconds=20)
    try:
        assert launcher.patience_seconds == seconds
    finally:
        launcher.shutdown(2)


def test_a_driver_outside_of_a_cluster_must_say_which_image(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match="set image"):
        PodLauncher(
            Configuration(allocation="pod", num_workers=1),
            session_id="s1",
            token="t",
            manager_getter=lambda: pool,
        )
