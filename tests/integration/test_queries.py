"""Queries of a driver Pod on worker Pods, in a namespace that enforces `restricted`."""

from __future__ import annotations

from tests.integration import first_queries
from tests.integration.cluster import Namespace, wait_until


def test_a_driver_pod_runs_queries_on_worker_pods_and_leaves_nothing(namespace: Namespace) -> None:
    driver = namespace.start(first_queries.SCRIPT)
    facts = driver.finish()
    first_queries.judge(facts)
    wait_until(lambda: not namespace.workers(facts["session"]), 30, "the workers' Pods are gone")
    assert namespace.secrets(facts["session"]) == []


def test_a_workers_pod_is_what_the_documents_promise(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        session = use()
        say(session=session.session_id, rows=count_rows())
        time.sleep(300)
        """
    )
    driver.wait_for_fact("rows")
    session = driver.facts()["session"]
    wait_until(lambda: len(namespace.workers(session)) == 2, 20, "two workers")
    for pod in namespace.workers(session):
        assert pod["status"]["qosClass"] == "Guaranteed"
        labels = pod["metadata"]["labels"]
        number = labels["daft.io/worker"].removeprefix("worker-")
        assert labels == {
            "app.kubernetes.io/managed-by": "daft-k8s",
            "daft.io/driver-pod": driver.pod()["metadata"]["uid"],
            "daft.io/job-id": driver.name,
            "daft.io/launch": "1",
            "daft.io/role": "worker",
            "daft.io/session": session,
            "daft.io/worker": f"worker-{number}",
        }
        assert pod["metadata"]["name"] == f"daft-{session}-worker-{number}-1"
        assert pod["metadata"]["ownerReferences"][0]["name"] == driver.name
        assert pod["spec"]["containers"][0]["image"] == namespace.image
        assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]  # no token
    [secret] = namespace.secrets(session)
    assert secret["data"]["token"] not in str(namespace.workers(session))

    def in_the_worker(command: str) -> str:
        return namespace.kubectl("exec", f"daft-{session}-worker-0-1", "--", "sh", "-c", command)

    orphan = in_the_worker("sleep 0.3 >/dev/null & echo $!").strip()
    wait_until(
        lambda: f"/proc/{orphan}" not in in_the_worker("ls -d /proc/[0-9]*").split(),
        20,
        "somebody has waited for a process that outlived its parent",
    )
    driver.delete("--grace-period=1")


def test_a_worker_that_is_deleted_is_replaced_and_the_next_query_works(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        session = use()
        say(session=session.session_id, before=count_rows())
        deadline = time.monotonic() + 60
        def launches():
            return {worker.launch for worker in session.snapshot().workers}
        while session.manager.ready_count() < 2 or max(launches()) < 2:
            assert time.monotonic() < deadline, session.snapshot()
            time.sleep(0.2)
        say(after=count_rows())
        """
    )
    driver.wait_for_fact("before")
    session = driver.facts()["session"]
    wait_until(lambda: len(namespace.workers(session)) == 2, 20, "two workers")
    namespace.kubectl("delete", "pod", f"daft-{session}-worker-0-1", "--wait=false")
    assert driver.finish()["after"] == 500
