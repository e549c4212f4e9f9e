"""A session that lives on while others take away what it has made, or add to it. One driver serves most tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.cluster import Driver, Namespace, wait_until

SECONDS_UNTIL_KILLED = 25
HOG = f"import time; time.sleep({SECONDS_UNTIL_KILLED}); hog = b'x' * 2**30"
"""Longer than a node's back-off takes for granted after a first end, and more than its container may have."""

LIVING = """
session = use(num_workers=2, start_timeout_seconds=120, pod_template={template})
say(session=session.session_id, rows=count_rows())
while True:
    launches = {{worker.worker_id: worker.launch for worker in session.snapshot().workers}}
    say(right=count_rows() == 500, launches=launches, ready=session.manager.ready_count())
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def driver(namespace: Namespace) -> Iterator[Driver]:
    """Asks again and again; beside its workers runs what a service mesh would inject, and is killed for its memory."""
    sidecar = {
        "name": "proxy",
        "image": namespace.image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "command": ["python", "-c", HOG],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    driver = namespace.start(LIVING.format(template={"spec": {"initContainers": [sidecar]}}))
    driver.wait_for_fact("ready", 120)
    yield driver
    driver.delete("--grace-period=1")


def workers(namespace: Namespace, driver: Driver) -> dict[str, dict[str, Any]]:
    found = namespace.workers(driver.facts()["session"])
    return {pod["metadata"]["name"]: pod for pod in found if "deletionTimestamp" not in pod["metadata"]}


def status_of(pod: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next((item for item in pod["status"].get(kind, ()) if item["name"] == name), {})


def is_right(driver: Driver) -> bool:
    facts = driver.facts()
    return bool(facts["right"]) and facts["ready"] == 2


def test_a_native_sidecar_that_is_killed_for_its_memory_leaves_the_worker_alone(
    namespace: Namespace, driver: Driver
) -> None:
    before = workers(namespace, driver)

    def all_were_killed() -> bool:
        ends = [
            status_of(pod, "initContainerStatuses", "proxy").get("lastState", {}).get("terminated", {})
            for pod in workers(namespace, driver).values()
        ]
        return len(ends) == 2 and all(end.get("reason") == "OOMKilled" for end in ends)

    wait_until(all_were_killed, 90, "each sidecar was killed and restarted")
    after = workers(namespace, driver)
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == {
        name: pod["metadata"]["uid"] for name, pod in before.items()
    }
    assert [status_of(pod, "containerStatuses", "worker")["restartCount"] for pod in after.values()] == [0, 0]
    assert set(driver.facts()["launches"].values()) == {1}
    assert is_right(driver)


def test_a_pod_that_no_worker_stands_for_is_deleted_and_the_workers_are_left(
    namespace: Namespace, driver: Driver
) -> None:
    """As one is whose creation took effect after its request was given up."""
    before = workers(namespace, driver)
    sample = copy.deepcopy(next(iter(before.values())))
    late = f"daft-{driver.facts()['session']}-worker-9-7"
    metadata = {key: sample["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    metadata["labels"] |= {"daft.io/worker": "worker-9", "daft.io/launch": "7"}
    sample["spec"].pop("nodeName")
    namespace.kubectl(
        "create", "-f", "-",
        given={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": late, **metadata}, "spec": sample["spec"]},
    )  # fmt: skip
    assert late in workers(namespace, driver)
    seconds = wait_until(lambda: late not in workers(namespace, driver), 90, "the Pod that nothing wants is deleted")
    print(f"deleted after {seconds:.1f} s")
    assert set(workers(namespace, driver)) == set(before)
    assert is_right(driver)


def test_a_secret_that_somebody_deletes_is_made_again_and_the_next_worker_starts_with_it(
    namespace: Namespace, driver: Driver
) -> None:
    session = driver.facts()["session"]
    [secret] = [secret["metadata"]["name"] for secret in namespace.secrets(session)]
    namespace.kubectl("delete", "secret", secret)
    lost = next(iter(workers(namespace, driver)))
    namespace.kubectl("delete", "pod", lost, "--wait=false", "--grace-period=1")
    wait_until(lambda: lost not in workers(namespace, driver), 30, "the worker is lost")

    def is_replaced() -> bool:
        facts = driver.facts()
        return sorted(facts["launches"].values()) == [1, 2] and is_right(driver)

    seconds = wait_until(is_replaced, 90, "another worker serves in its place")
    print(f"replaced after {seconds:.1f} s")
    assert [secret["metadata"]["name"] for secret in namespace.secrets(session)] == [secret]
    assert f"the session's Secret {secret} was gone" in driver.log()


def test_a_lease_that_somebody_deletes_is_made_again_and_costs_no_worker(namespace: Namespace, driver: Driver) -> None:
    name = f"daft-{driver.facts()['session']}"
    before = workers(namespace, driver)
    namespace.kubectl("delete", "lease", name)
    wait_until(lambda: name in namespace.kubectl("get", "leases", "-o", "name"), 60, "the Lease is there again")
    assert set(workers(namespace, driver)) == set(before)
    assert is_right(driver)


def test_workers_that_a_queue_holds_back_start_when_it_admits_them(namespace: Namespace) -> None:
    gates = [{"name": "test.daft.io/queue"}]
    other = namespace.start(
        f"""
        session = use(num_workers=1, start_timeout_seconds=20, pod_template={{"spec": {{"schedulingGates": {gates}}}}})
        say(session=session.session_id)
        while True:
            try:
                say(rows=count_rows(), launches=[worker.launch for worker in session.snapshot().workers])
                break
            except Exception as error:
                say(waited=str(error))
                time.sleep(1)
        """
    )
    try:
        waited = other.wait_for_fact("waited", 90)
        assert "it is held back by the scheduling gates test.daft.io/queue" in waited
        [pod] = namespace.workers(other.facts()["session"])
        lift = '{"spec": {"schedulingGates": []}}'
        namespace.kubectl("patch", "pod", pod["metadata"]["name"], "--type=merge", "-p", lift)
        facts = other.finish(90)
        assert facts["rows"] == 500
        assert facts["launches"] == [1], "it costs no restart"
        assert "and others may: it is held back" in other.log()
    finally:
        other.delete("--grace-period=1")
