"""Which sessions are dead, and what goes with them; the cluster and its clock are in memory."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects import lease, names
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.kube.session import driver_process
from daft_k8s.kube.session.sweep import Remains, remove_session, sweep_dead_sessions, sweep_predecessors
from tests.unit.allocation.fakes import Pool
from tests.unit.kube.fake_cluster import FakeCluster, make_launcher

TARGET = Target("jobs", "image", labels={names.OWNER_LABEL: "ada.laptop"})


def add_session(cluster: FakeCluster, session: str, *, age_seconds: float = 0, orphan_timeout_seconds: float = 120,
                target: Target = TARGET, ended_seconds_ago: float = 0) -> None:  # fmt: skip
    """Two workers that have ended, a Secret and a Lease that was renewed some time ago."""
    finished = (cluster.time - datetime.timedelta(seconds=ended_seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    own = {"name": names.CONTAINER, "state": {"terminated": {"exitCode": 0, "finishedAt": finished}}}
    then = cluster.time - datetime.timedelta(seconds=age_seconds)
    made = lease.session_lease(
        session, target, holder="ada.laptop", orphan_timeout_seconds=orphan_timeout_seconds, now=then
    )
    made["metadata"]["uid"] = f"uid-of-{session}"
    cluster.leases[names.lease_name(session)] = made
    owner = target.owner or lease.owner(made)
    secret = f"daft-{session}-00000000"
    cluster.secrets[secret] = {"metadata": {"name": secret, "ownerReferences": [owner.reference()]}}
    for worker in ("worker-0", "worker-1"):
        labels = {**target.labels, names.SESSION_LABEL: session, names.ROLE_LABEL: names.WORKER_ROLE}
        labels[names.MANAGED_BY_LABEL] = names.MANAGED_BY
        name = names.pod_name(session, worker, 1)
        cluster.pods[name] = {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": dict(target.annotations),
                "ownerReferences": [owner.reference()],
            },
            "spec": {"volumes": [{"name": "daft-session", "secret": {"secretName": secret}}]},
            "status": {"phase": "Succeeded", "containerStatuses": [own]},
        }


def let_workers_run(cluster: FakeCluster, session: str, *, for_seconds: float, ready: bool = True) -> None:
    """Its workers' processes run, and have done so for some time."""
    began = (cluster.time - datetime.timedelta(seconds=for_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for pod in cluster.pods.values():
        if pod["metadata"]["labels"][names.SESSION_LABEL] == session:
            own = {"name": names.CONTAINER, "ready": ready, "state": {"running": {"startedAt": began}}}
            condition = {"type": "Ready", "status": str(ready)}
            pod["status"] = {"phase": "Running", "containerStatuses": [own], "conditions": [condition]}


def sessions(cluster: FakeCluster) -> set[str]:
    """Those of which anything is left."""
    pods = {pod["metadata"]["labels"][names.SESSION_LABEL] for pod in cluster.pods.values()}
    return pods | {name.split("-")[1] for name in (*cluster.secrets, *cluster.leases)}


def test_a_session_whose_lease_has_long_run_out_goes_with_all_it_made(cluster: FakeCluster) -> None:
    add_session(cluster, "dead", age_seconds=151)
    add_session(cluster, "alive", age_seconds=149)
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs")) == ["dead"]
    assert sessions(cluster) == {"alive"}


def test_a_session_whose_workers_wait_long_for_their_driver_is_not_dead_before_they_are(cluster: FakeCluster) -> None:
    add_session(cluster, "patient", age_seconds=3600, orphan_timeout_seconds=3600)
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs")) == []
    cluster.time += datetime.timedelta(seconds=5)
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs")) == ["patient"]


def test_a_session_whose_workers_still_serve_is_alive_whatever_its_lease_says(cluster: FakeCluster) -> None:
    # The API server was away, or only its driver could not reach it: workers without a driver would have gone.
    add_session(cluster, "cut", age_seconds=1000)
    let_workers_run(cluster, "cut", for_seconds=5000)
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01)) == []
    assert sessions(cluster) == {"cut"}


def test_a_session_whose_workers_serve_beside_sidecars_that_do_not_is_alive(cluster: FakeCluster) -> None:
    add_session(cluster, "meshed", age_seconds=1000)
    let_workers_run(cluster, "meshed", for_seconds=5000)
    for pod in cluster.pods.values():
        pod["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01)) == []
    for pod in cluster.pods.values():
        pod["status"]["containerStatuses"][0]["ready"] = False
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01)) == ["meshed"]


@pytest.mark.parametrize(
    ("for_seconds", "ready"),
    [pytest.param(5000, False, id="its node is lost"), pytest.param(20, True, id="it was restarted in place")],
)
def test_workers_that_may_have_no_driver_save_no_session(cluster: FakeCluster, for_seconds: float, ready: bool) -> None:
    add_session(cluster, "dead", age_seconds=1000)
    let_workers_run(cluster, "dead", for_seconds=for_seconds, ready=ready)
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01)) == ["dead"]


def leave_no_pods(cluster: FakeCluster) -> None:
    cluster.pods.clear()


def leave_pods_whose_end_has_no_time(cluster: FakeCluster) -> None:
    for pod in cluster.pods.values():
        pod["status"] = {"phase": "Failed", "reason": "Evicted"}


def leave_pods_that_ended_long_before(cluster: FakeCluster) -> None:
    cluster.pods.clear()
    for session in ("late", "dead"):
        add_session(cluster, session, age_seconds=160, ended_seconds_ago=7200)


@pytest.mark.parametrize("leave", [leave_no_pods, leave_pods_whose_end_has_no_time, leave_pods_that_ended_long_before])
def test_a_session_that_renews_its_lease_after_all_is_left_alone(
    cluster: FakeCluster, leave: Callable[[FakeCluster], None]
) -> None:
    # It has no worker whose state would tell: a pool that may shrink to nothing, after the API server was away.
    add_session(cluster, "late", age_seconds=1000)
    add_session(cluster, "dead", age_seconds=1000)
    leave(cluster)

    async def renew_late() -> list[str]:
        sweeping = asyncio.create_task(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.2))
        await asyncio.sleep(0)
        while "list pods" not in cluster.calls:
            await asyncio.sleep(0.001)
        # By a driver whose clock is wrong, as its proxy hides the API server's.
        then = cluster.time - datetime.timedelta(seconds=900)
        await cluster.patch_lease("jobs", "daft-late", lease.renewal(then))
        return await sweeping

    assert asyncio.run(renew_late()) == ["dead"]
    assert sessions(cluster) == {"late"}


@pytest.mark.parametrize("spec", [{}, {"renewTime": "once"}, {"renewTime": "2020-01-01T00:00:00Z"}])
def test_what_cannot_be_read_is_not_dead(spec: dict[str, Any]) -> None:
    assert not lease.is_dead({"spec": spec}, datetime.datetime.now(datetime.timezone.utc))


def test_leases_of_others_are_left_alone(cluster: FakeCluster) -> None:
    add_session(cluster, "dead", age_seconds=1000)
    cluster.leases["daft-dead"]["metadata"]["labels"][names.MANAGED_BY_LABEL] = "somebody-else"
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs")) == []


def test_the_lease_goes_last_so_that_a_sweep_that_fails_is_done_again(cluster: FakeCluster) -> None:
    add_session(cluster, "dead", age_seconds=1000)
    cluster.problems["delete secrets"] = [ApiError("delete secrets", 500, "etcd has no leader")]
    with pytest.raises(ApiError):
        asyncio.run(sweep_dead_sessions(cluster, "jobs"))
    assert asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01)) == ["dead"]
    assert sessions(cluster) == set()


def test_a_session_that_cannot_be_removed_keeps_no_other_from_it_and_is_named(cluster: FakeCluster) -> None:
    for session in ("first", "second", "third"):
        add_session(cluster, session, age_seconds=1000)
    cluster.problems["delete secrets"] = [ApiError("delete secrets", 500, "etcd has no leader")]
    with pytest.raises(ApiError, match=r"^remove sessions: first: delete secrets: etcd has no leader") as raised:
        asyncio.run(sweep_dead_sessions(cluster, "jobs"))
    assert "second" not in str(raised.value)
    assert sessions(cluster) == {"first"}


def test_a_session_goes_where_only_pods_one_by_one_and_secrets_may_be_deleted(cluster: FakeCluster) -> None:
    add_session(cluster, "s")
    for action in ("deletecollection pods", "delete leases", "delete statefulsets.apps", "delete services"):
        cluster.problems[action] = [ApiError(action, 403, "forbidden")]
    asyncio.run(remove_session(cluster, "jobs", Remains("s")))
    assert not cluster.pods
    assert not cluster.secrets


# Leases that others have made: the right to create them must give no other.


def forge_lease(cluster: FakeCluster, session: str, name: str = "", **spec: Any) -> None:
    """Makes a Lease that says that a session has been dead for long."""
    then = cluster.time - datetime.timedelta(days=30)
    made = lease.session_lease(session, TARGET, holder="mallory", orphan_timeout_seconds=120, now=then)
    made["metadata"] |= {"name": name or names.lease_name(session), "uid": f"uid-of-mallory-{session}"}
    made["spec"] |= spec
    cluster.leases[made["metadata"]["name"]] = made


def sweep(cluster: FakeCluster) -> list[str]:
    return asyncio.run(sweep_dead_sessions(cluster, "jobs", confirm_seconds=0.01))


@pytest.mark.parametrize("runs", [True, False])
def test_a_lease_of_another_name_cannot_have_a_living_session_removed(cluster: FakeCluster, runs: bool) -> None:
    add_session(cluster, "victim")
    if runs:
        let_workers_run(cluster, "victim", for_seconds=20)
    forge_lease(cluster, "victim", "mallory")
    assert sweep(cluster) == []
    assert len(cluster.pods) == 2
    assert set(cluster.secrets) == {"daft-victim-00000000"}
    assert set(cluster.leases) == {"daft-victim", "mallory"}


@pytest.mark.parametrize("runs", [True, False])
def test_a_lease_that_owns_nothing_cannot_have_a_session_without_one_removed(cluster: FakeCluster, runs: bool) -> None:
    add_session(cluster, "victim")
    if runs:
        let_workers_run(cluster, "victim", for_seconds=20)
    forge_lease(cluster, "victim", leaseDurationSeconds=2**31 - 1)
    forge_lease(cluster, "victim", leaseDurationSeconds=10)
    assert sweep(cluster) == []
    assert len(cluster.pods) == 2
    assert set(cluster.secrets) == {"daft-victim-00000000"}


def test_a_lease_cannot_have_objects_deleted_that_only_bear_its_sessions_name(cluster: FakeCluster) -> None:
    for objects in (cluster.secrets, cluster.services, cluster.stateful_sets):
        objects |= {"daft-password": {}, "daft-password-worker": {}}
    forge_lease(cluster, "password")
    assert sweep(cluster) == ["password"], "the Lease itself goes"
    assert not cluster.leases
    for objects in (cluster.secrets, cluster.services, cluster.stateful_sets):
        assert set(objects) == {"daft-password", "daft-password-worker"}


def test_a_lease_counts_no_longer_than_a_week_whatever_it_says(cluster: FakeCluster) -> None:
    forge_lease(cluster, "eternal", leaseDurationSeconds=2**31 - 1)
    assert lease.life(cluster.leases["daft-eternal"]) == lease.MOST_LIFE
    assert sweep(cluster) == ["eternal"]


@pytest.mark.skipif(sys.platform != "linux", reason="drivers in Pods run on Linux")
def test_a_lease_cannot_have_a_living_session_of_this_pod_removed(cluster: FakeCluster) -> None:
    gone = target_of(f"{os.getpid()}.123.42")
    add_session(cluster, "sibling", target=target_of(driver_process.identity()))
    forged = lease.session_lease("sibling", gone, holder="mallory", orphan_timeout_seconds=1, now=cluster.time)
    forged["metadata"]["uid"] = "uid-of-mallory"
    cluster.leases["daft-sibling"] = forged
    assert asyncio.run(sweep_predecessors(cluster, gone, "mine")) == []
    assert len(cluster.pods) == 2


def test_a_lease_that_was_made_anew_meanwhile_stays(cluster: FakeCluster) -> None:
    add_session(cluster, "back")
    remains = Remains("back", frozenset({"uid-of-former"}), "uid-of-former")
    asyncio.run(remove_session(cluster, "jobs", remains))
    assert set(cluster.leases) == {"daft-back"}
    assert len(cluster.pods) == 2


def test_the_pods_of_a_stateful_set_go_with_the_lease_that_owns_it(cluster: FakeCluster) -> None:
    add_session(cluster, "dead", age_seconds=1000)
    for pod in cluster.pods.values():
        pod["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "daft-dead-worker", "uid": "uid-of-set"}]
        pod["metadata"]["annotations"] = {names.OWNER_UID_ANNOTATION: "uid-of-dead"}
    cluster.stateful_sets["daft-dead-worker"] = {"spec": {"replicas": 0}}
    assert sweep(cluster) == ["dead"]
    assert not cluster.stateful_sets
    assert sessions(cluster) == set()


# Former drivers of the same Pod.


def target_of(process: str, *, alone: bool = True, pod: str = "uid-1") -> Target:
    return Target(
        "jobs",
        "image",
        owner=Owner("driver", pod),
        labels={names.DRIVER_POD_LABEL: pod},
        annotations={names.DRIVER_ANNOTATION: process},
        driver_alone=alone,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="drivers in Pods run on Linux")
def test_the_session_of_a_process_that_has_ended_goes_and_that_of_one_that_lives_stays(cluster: FakeCluster) -> None:
    own = driver_process.identity()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        namespace = own.split(".")[2]
        living = driver_process._describe(driver_process.PROC, other.pid, namespace)
        gone = living.replace(f"{other.pid}.", f"{other.pid}.1", 1)  # its id, but not its start
        add_session(cluster, "living", target=target_of(living))
        add_session(cluster, "gone", target=target_of(gone))
        add_session(cluster, "elsewhere", target=target_of(gone, pod="uid-2"))
        add_session(cluster, "own", target=target_of(own))
        assert asyncio.run(sweep_predecessors(cluster, target_of(own), "own")) == ["gone"]
        other.kill()
    assert sessions(cluster) == {"living", "elsewhere", "own"}
    assert asyncio.run(sweep_predecessors(cluster, target_of(own), "own")) == ["living"]


@pytest.mark.skipif(sys.platform != "linux", reason="drivers in Pods run on Linux")
@pytest.mark.parametrize("alone", [True, False])
def test_a_process_of_another_container_is_gone_only_if_there_can_be_no_other(alone: bool) -> None:
    assert driver_process.is_gone(f"{os.getpid()}.123.42", alone=alone) is alone


@pytest.mark.skipif(sys.platform != "linux", reason="drivers in Pods run on Linux")
def test_a_former_drivers_session_that_cannot_be_removed_keeps_no_other_from_it(cluster: FakeCluster) -> None:
    gone = target_of(f"{os.getpid()}.123.42")  # of another container, which is the only one
    for session in ("first", "second"):
        add_session(cluster, session, target=gone)
    cluster.problems["delete secrets"] = [ApiError("delete secrets", 500, "etcd has no leader")]
    with pytest.raises(ApiError, match="first: delete secrets: etcd has no leader"):
        asyncio.run(sweep_predecessors(cluster, gone, "mine"))
    assert sessions(cluster) == {"first"}


@pytest.mark.skipif(sys.platform != "linux", reason="drivers in Pods run on Linux")
def test_former_drivers_are_found_by_their_pods_where_leases_may_not_be_listed(cluster: FakeCluster) -> None:
    gone = target_of(f"{os.getpid()}.123.42")
    add_session(cluster, "former", target=gone)
    cluster.problems["list leases"] = [ApiError("list leases", 403, "forbidden")]
    assert asyncio.run(sweep_predecessors(cluster, gone, "mine")) == ["former"]


def test_leases_of_former_drivers_that_could_not_be_asked_for_are_not_taken_for_none(cluster: FakeCluster) -> None:
    cluster.problems["list leases"] = [ApiError("list leases", 0, "TimeoutError")]
    with pytest.raises(ApiError, match="list leases: TimeoutError"):
        asyncio.run(sweep_predecessors(cluster, target_of("1.2.3"), "mine"))


@pytest.mark.parametrize("text", ["", "1.2", "x.2.3"])
def test_a_process_that_is_not_known_is_not_gone(text: str) -> None:
    assert not driver_process.is_gone(text, alone=True)


def test_where_processes_are_not_shown_nobody_is_gone(tmp_path: Path) -> None:
    assert driver_process.identity(tmp_path) == ""
    assert not driver_process.is_gone("1.2.3", alone=True, proc=tmp_path)


# A session and its own Lease.


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_session_keeps_its_lease_and_makes_it_anew_if_somebody_has_taken_it(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    launcher = make_launcher(cluster, Pool(), forwarded=True)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: "daft-s1-worker-0-1" in cluster.pods)
        [first] = cluster.pods["daft-s1-worker-0-1"]["metadata"]["ownerReferences"]
        assert (first["kind"], first["apiVersion"], first["name"]) == ("Lease", "coordination.k8s.io/v1", "daft-s1")
        cluster.time += datetime.timedelta(seconds=60)
        renewals = cluster.calls.count("patch leases")
        cluster.wait_until(lambda: cluster.calls.count("patch leases") >= renewals + 2)
        assert cluster.leases["daft-s1"]["spec"]["renewTime"] == "2026-01-01T00:01:00.000000Z"
        creations = cluster.calls.count("create secrets") + 1
        cluster.problems["create secrets"] = [ApiError("create secrets", 503, "etcd has no leader")]
        cluster.leases.clear()
        cluster.wait_until(lambda: cluster.calls.count("create secrets") > creations)
        launcher.launch("worker-0", 2)
        cluster.wait_until(lambda: "daft-s1-worker-0-2" in cluster.pods)
        [second] = cluster.pods["daft-s1-worker-0-2"]["metadata"]["ownerReferences"]
        assert second["uid"] != first["uid"]
    finally:
        launcher.shutdown(5)
    assert sessions(cluster) == set()


def test_a_session_renews_its_lease_while_it_sweeps_others(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    add_session(cluster, "unsure", age_seconds=1000)
    cluster.pods.clear()
    launcher = make_launcher(cluster, Pool(), forwarded=True)
    try:
        cluster.wait_until(lambda: cluster.calls.count("patch leases") >= 2)
        assert "unsure" in sessions(cluster)
    finally:
        launcher.shutdown(5)


def test_a_lease_is_renewed_again_after_a_surprise(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    cluster.problems["patch leases"] = [RuntimeError("the client's own defect")]  # type: ignore[list-item]
    launcher = make_launcher(cluster, Pool(), forwarded=True)
    try:
        cluster.wait_until(lambda: cluster.calls.count("patch leases") >= 3)
    finally:
        launcher.shutdown(5)


def test_what_a_session_does_is_published_with_its_lease_and_at_once_when_it_changes(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PUBLISH_SECONDS", 0.02)  # RENEW_SECONDS stays: only news makes it patch the Lease
    told = ["", "one"]

    def published() -> object:
        return cluster.leases["daft-s1"]["metadata"]["annotations"].get(names.SUMMARY_ANNOTATION)

    launcher = make_launcher(cluster, Pool(), forwarded=True, summarize=lambda: told[-1])
    try:
        cluster.wait_until(lambda: "daft-s1" in cluster.leases and published() == "one")
        told.append("two")
        cluster.wait_until(lambda: published() == "two")
        assert cluster.calls.count("patch leases") == 2
    finally:
        launcher.shutdown(5)


@pytest.mark.parametrize("unknown", [lambda: "", lambda: str(1 // 0)], ids=["its pool is gone", "it fails"])
def test_what_a_session_does_is_told_no_more_once_it_is_not_known(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, unknown: Callable[[], str]
) -> None:
    monkeypatch.setattr(lease, "PUBLISH_SECONDS", 0.02)
    says = [lambda: "one"]

    def published() -> object:
        return cluster.leases["daft-s1"]["metadata"]["annotations"].get(names.SUMMARY_ANNOTATION)

    launcher = make_launcher(cluster, Pool(), forwarded=True, summarize=lambda: says[-1]())
    try:
        cluster.wait_until(lambda: "daft-s1" in cluster.leases and published() == "one")
        says.append(unknown)
        cluster.wait_until(lambda: published() is None)
    finally:
        launcher.shutdown(5)


def test_a_session_that_cannot_be_summarized_renews_its_lease(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    launcher = make_launcher(cluster, Pool(), forwarded=True, summarize=lambda: str(1 // 0))
    try:
        cluster.wait_until(lambda: cluster.calls.count("patch leases") >= 2)
        assert names.SUMMARY_ANNOTATION not in cluster.leases["daft-s1"]["metadata"]["annotations"]
    finally:
        launcher.shutdown(5)


def test_an_api_that_refuses_a_renewal_is_asked_no_more_often_because_there_is_news(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PUBLISH_SECONDS", 0.02)
    cluster.problems["patch leases"] = [ApiError("patch leases", 503, "etcd has no leader")]
    looks: list[int] = []

    def summarize() -> str:
        looks.append(0)
        return str(len(looks))

    launcher = make_launcher(cluster, Pool(), forwarded=True, summarize=summarize)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: cluster.calls.count("patch leases") >= 1)
        seen = len(looks)
        wait_until(lambda: len(looks) > seen + 5)
        assert cluster.calls.count("patch leases") == 1
    finally:
        launcher.shutdown(5)


def test_a_session_works_without_the_right_to_leases(cluster: FakeCluster) -> None:
    cluster.problems["create leases"] = [ApiError("create leases", 403, "forbidden")]
    cluster.problems["list leases"] = [ApiError("list leases", 403, "forbidden")]
    launcher = make_launcher(cluster, Pool(), forwarded=True)
    try:
        launcher.launch("worker-0", 1)
        cluster.wait_until(lambda: "daft-s1-worker-0-1" in cluster.pods)
        assert "ownerReferences" not in cluster.pods["daft-s1-worker-0-1"]["metadata"]
    finally:
        launcher.shutdown(5)


def test_a_session_sweeps_dead_ones_when_it_begins(cluster: FakeCluster) -> None:
    add_session(cluster, "dead", age_seconds=1000)
    launcher = make_launcher(cluster, Pool())
    try:
        cluster.wait_until(lambda: "dead" not in sessions(cluster))
    finally:
        launcher.shutdown(5)
