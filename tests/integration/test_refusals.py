"""What a cluster cannot give is told in its own words, within a minute."""

from __future__ import annotations

import pytest

from tests.integration.cluster import RULES, Driver, Namespace, wait_until

FAILING = """
begin = time.monotonic()
session = use(**{{"start_timeout_seconds": 120, **{options}}})  # the default
try:
    rows = count_rows()
except Exception as error:
    say(error=f"{{type(error).__name__}}: {{error}}", seconds=time.monotonic() - begin)
else:
    say(error=None, rows=rows, workers=session.manager.ready_count())
"""


def patched(code: str, **options: object) -> dict[str, object]:
    """Options with which the worker's Python runs this code first."""
    mount = {"name": "patch", "mountPath": "/patch"}
    env = [{"name": "PYTHONPATH", "value": "/patch"}]
    volume = {"name": "patch", "configMap": {"name": code}}
    spec = {"volumes": [volume], "containers": [{"name": "worker", "env": env, "volumeMounts": [mount]}]}
    return {"pod_template": {"spec": spec}, **options}


PATCHES = {
    "other-version": "import daft\ndaft.__version__ = '0.7.1'\n",
    "out-of-memory": "hog = bytearray(2**30)\n",
}
SECRET = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "there-is-none", "key": "k"}}}
MISSING_VOLUME = {"volumes": [{"name": "v", "configMap": {"name": "there-is-none"}}],
                  "containers": [{"name": "worker", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}  # fmt: skip
REFUSALS: dict[str, tuple[dict[str, object], list[str]]] = {
    "an image that does not exist": (
        {"image": "localhost/daft-k8s:never-built"}, ["localhost/daft-k8s:never-built", "pull"]),
    "an invalid image name": ({"image": "localhost/UPPER:1"}, ["localhost/UPPER:1", "InvalidImageName"]),
    "a node selector that matches nothing": (
        {"node_selector": {"no": "such"}, "start_timeout_seconds": 20}, ["didn't match Pod's node affinity/selector"]),
    "a request larger than any node": ({"worker_cpu": 1000, "start_timeout_seconds": 20}, ["Insufficient cpu"]),
    "a priority class that does not exist": (
        {"priority_class": "there-is-none"}, ["no PriorityClass with name there-is-none was found"]),
    "a namespace that does not exist": ({"namespace": "there-is-none"}, ["there-is-none"]),
    "a Secret that does not exist": (
        {"pod_template": {"spec": {"containers": [{"name": "worker", "env": [SECRET]}]}}},
        ['secret "there-is-none" not found']),
    "a volume that does not exist": (
        {"pod_template": {"spec": MISSING_VOLUME}, "start_timeout_seconds": 40},
        ["Kubernetes warns: FailedMount", 'configmap "there-is-none" not found']),
    "what Pod Security forbids": (
        {"pod_template": {"spec": {"hostPID": True}}}, ["violates PodSecurity", "hostPID"]),
    "too little memory to start": (
        patched("out-of-memory", max_worker_restarts=1),
        ["used more memory than its limit (OOMKilled)", "raise worker_memory"]),
    "a worker of another version of Daft": (patched("other-version"), ["0.7.1", "refused"]),
}  # fmt: skip


class Refused:
    """One driver for each refusal, a few ahead of the one that is looked at: what they do most is to wait."""

    AHEAD = 2

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._drivers: dict[str, Driver] = {}

    def driver(self, name: str) -> Driver:
        names = list(REFUSALS)
        place = names.index(name)
        for each in names[place : place + 1 + self.AHEAD]:
            if each not in self._drivers:
                self._drivers[each] = self._namespace.start(FAILING.format(options=REFUSALS[each][0]))
        return self._drivers[name]


@pytest.fixture(scope="module")
def refused(namespace: Namespace) -> Refused:
    for name, code in PATCHES.items():
        data = {"sitecustomize.py": code}
        patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        namespace.kubectl("apply", "-f", "-", given=patch)
    return Refused(namespace)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_told_within_a_minute(refused: Refused, name: str) -> None:
    words = REFUSALS[name][1]
    facts = refused.driver(name).finish(110)
    assert facts["error"] is not None
    assert facts["error"].startswith("WorkerStartError"), facts["error"]
    assert [word for word in words if word not in facts["error"]] == [], facts["error"]
    assert facts["seconds"] < 60
    print(f"{name}: {facts['seconds']:.1f} s")


def test_that_no_node_takes_a_worker_is_warned_of_in_the_schedulers_words_long_before_it_is_given_up(
    namespace: Namespace,
) -> None:
    """A node may be on its way, so it takes the default `start_timeout_seconds`, 120, until it is an error."""
    driver = namespace.start(
        """
        session = daft_k8s.set_runner_k8s(allocation="pod", num_workers=1, worker_cpu=1000, worker_memory="512Mi")
        say(begun=True)
        count_rows()
        """
    )
    driver.wait_for_fact("begun")
    seconds = wait_until(lambda: "Insufficient cpu" in driver.log(), 60, "a warning in the scheduler's words")
    [session] = {pod["metadata"]["labels"]["daft.io/session"] for pod in driver_workers(namespace, driver)}
    assert f"the Pod daft-{session}-worker-0-1 waits, and others may: no node takes it (Unschedulable: " in driver.log()
    print(f"no node: warned of after {seconds:.1f} s")
    driver.delete("--grace-period=1")


def driver_workers(namespace: Namespace, driver: Driver) -> list[dict]:
    return [pod for pod in namespace.workers() if pod["metadata"]["labels"]["daft.io/job-id"] == driver.name]


def test_missing_rights_are_named_with_the_role_that_gives_them(empty_namespace: Namespace) -> None:
    without = {"pods": ("create", "watch"), "secrets": ("delete",)}
    empty_namespace.set_rules(
        [
            dict(rule, verbs=[verb for verb in rule["verbs"] if verb not in without.get(rule["resources"][0], ())])
            for rule in RULES
        ]
    )
    facts = empty_namespace.start(FAILING.format(options={})).finish()
    assert "may not create pods, watch pods, delete secrets" in facts["error"]
    assert 'verbs: ["create"' in facts["error"]
    assert facts["seconds"] < 60


def limit(namespace: Namespace, hard: dict[str, str]) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    namespace.kubectl("apply", "-f", "-", given=quota)


def test_a_quota_of_two_gives_two_workers_and_the_others_when_it_grows(empty_namespace: Namespace) -> None:
    limit(empty_namespace, {"pods": "3"})  # the driver is one of them
    driver = empty_namespace.start(
        """
        session = use(num_workers=4)
        say(rows=count_rows())
        for wanted in (2, 4):
            end = time.monotonic() + 90
            while session.manager.ready_count() < wanted:
                assert time.monotonic() < end, session.snapshot()
                time.sleep(0.2)
            say(**{f"ready_{wanted}": session.manager.ready_count()})
        """
    )
    assert driver.wait_for_fact("ready_2", 60) == 2
    assert "the ResourceQuota 'small'" in driver.log()
    assert "has room for 2 of the 4 workers wanted" in driver.log()
    limit(empty_namespace, {"pods": "5"})
    assert driver.finish() == {"rows": 500, "ready_2": 2, "ready_4": 4}


def test_at_a_full_quota_a_lost_worker_is_replaced_and_the_third_comes_when_it_grows(
    empty_namespace: Namespace,
) -> None:
    limit(empty_namespace, {"pods": "3"})  # the driver is one of them
    driver = empty_namespace.start(
        """
        session = use(num_workers=3)
        say(rows=count_rows())

        def workers():
            return {worker.worker_id: worker for worker in session.snapshot().workers}

        def wait_for(what):
            end = time.monotonic() + 90
            while not what(workers()):
                assert time.monotonic() < end, session.snapshot()
                time.sleep(0.2)

        wait_for(lambda found: session.manager.ready_count() == 2)
        wait_for(lambda found: any(worker.phase == "Postponed" for worker in found.values()))
        [held] = [worker for worker in workers().values() if worker.phase == "Postponed"]
        say(postponed=held.restarts, waits_for=held.waits_for)

        def ready(found):
            return {worker.incarnation for worker in found.values() if worker.phase == "Ready"}

        before = ready(workers())
        say(known=True)
        # By itself, or by the one that has waited for longer.
        wait_for(lambda found: len(ready(found)) == 2 and ready(found) != before)
        say(replaced=session.manager.ready_count(), rows_again=count_rows())
        wait_for(lambda found: session.manager.ready_count() == 3)
        say(ready_3=session.manager.ready_count())
        """
    )
    assert driver.wait_for_fact("postponed") == 0
    assert "has no room left for it" in driver.wait_for_fact("waits_for")
    assert driver.wait_for_fact("known")
    [pod, _] = empty_namespace.kubectl("get", "pods", "-l", "daft.io/role=worker", "-o", "name").split()
    empty_namespace.kubectl("delete", pod, "--wait=false")
    assert driver.wait_for_fact("replaced") == 2
    limit(empty_namespace, {"pods": "4"})
    facts = driver.finish()
    assert (facts["rows"], facts["rows_again"], facts["ready_3"]) == (500, 500, 3)


def test_a_quota_that_cannot_be_read_is_used_as_far_as_it_goes(empty_namespace: Namespace) -> None:
    empty_namespace.set_rules([rule for rule in RULES if rule["resources"] != ["resourcequotas"]])
    limit(empty_namespace, {"requests.memory": "768Mi"})
    driver = empty_namespace.start(FAILING.format(options={}))
    facts = driver.finish()
    assert (facts["error"], facts["rows"], facts["workers"]) == (None, 500, 1)
    assert "has no room for another worker" in driver.log()


def test_a_quota_of_nothing_is_told_at_once(empty_namespace: Namespace) -> None:
    limit(empty_namespace, {"requests.memory": "256Mi"})  # the driver's
    facts = empty_namespace.start(FAILING.format(options={})).finish()
    assert "the ResourceQuota 'small' of the namespace" in facts["error"]
    assert "too small for a single worker" in facts["error"]
    assert facts["seconds"] < 20
