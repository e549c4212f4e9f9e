"""What the JSON of a Pod is taken to mean. Real clusters' Pods: tests/integration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.kube.pods.state import Cause, Stage, read_state
from tests.unit.kube.pod_json import UNSCHEDULABLE, disruption, ended, pod, ready_pod, waiting

SIDECAR = {"name": "sidecar", "ready": True, "state": {"running": {}}}


@pytest.mark.parametrize(
    ("found", "stage"),
    [
        ({}, Stage.PENDING),
        (pod(), Stage.PENDING),
        (pod(conditions=[UNSCHEDULABLE]), Stage.UNSCHEDULABLE),
        (pod(gates=("kueue.x-k8s.io/admission",)), Stage.GATED),
        (pod(gates=("kueue.x-k8s.io/admission",), deleting=True), Stage.TERMINATING),
        (pod(node="n1", own=waiting("ContainerCreating")), Stage.CREATING),
        (pod(node="n1", own=waiting("ErrImagePull", "not found")), Stage.PULL_FAILING),
        (pod(node="n1", own=waiting("ImagePullBackOff", "Back-off")), Stage.PULL_FAILING),
        (pod(node="n1", own=waiting("ErrImagePull", "pull QPS exceeded")), Stage.CREATING),
        (pod(node="n1", own=waiting("CreateContainerConfigError", 'secret "s" not found')), Stage.CONFIG_FAILING),
        (pod(node="n1", phase="Running", own={"running": {}}), Stage.STARTING),
        (pod(node="n1", phase="Running", own={"running": {}}, ready=True), Stage.STARTING),
        (ready_pod(), Stage.READY),
        (pod(node="n1", phase="Running", own={"running": {}}, ready=True, ip="1.2.3.4", deleting=True),
         Stage.TERMINATING),
        (pod(phase="Succeeded", own=ended(0, "Completed")), Stage.SUCCEEDED),
        (pod(phase="Failed", own=ended(1)), Stage.FAILED),
        (pod(phase="Unknown", reason="NodeLost"), Stage.FAILED),
    ],
)  # fmt: skip
def test_each_shape_of_a_pod_has_its_stage(found: dict[str, Any], stage: Stage) -> None:
    assert read_state(found).stage is stage


def test_the_schedulers_own_words_are_told() -> None:
    state = read_state(pod(conditions=[UNSCHEDULABLE]))
    assert "Unschedulable: 0/3 nodes are available" in state.reason


def test_a_pod_that_a_queue_holds_back_is_not_one_that_no_node_takes() -> None:
    state = read_state(pod(gates=("kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology")))
    assert "the scheduling gates kueue.x-k8s.io/admission, kueue.x-k8s.io/topology" in state.reason
    assert "no node" not in state.reason
    assert (state.cause, state.hopeless) == (Cause.NONE, False)


def test_the_registrys_own_words_and_the_image_are_told() -> None:
    state = read_state(pod(node="n", own=waiting("ErrImagePull", "manifest unknown")))
    assert "'registry.test/image:1'" in state.reason
    assert "manifest unknown" in state.reason
    assert not state.hopeless


STARTS_THAT_FAIL = {
    "CreateContainerConfigError": 'secret "keys" not found',
    "CreateContainerError": 'context deadline exceeded: failed to reserve container name "worker"',
    "RunContainerError": "failed to create containerd task: exec: no such file or directory",
    "PostStartHookError": "Exec lifecycle hook failed",
}


@pytest.mark.parametrize("reason", STARTS_THAT_FAIL)
@pytest.mark.parametrize("of_init_container", [False, True])
def test_a_container_that_cannot_be_started_is_told_in_the_kubelets_words(reason: str, of_init_container: bool) -> None:
    words = waiting(reason, STARTS_THAT_FAIL[reason])
    if of_init_container:
        found = pod(node="n", initContainerStatuses=[{"name": "fetch", "state": words}])
    else:
        found = pod(node="n", own=words)
    state = read_state(found)
    assert (state.stage, state.cause) == (Stage.CONFIG_FAILING, Cause.SPEC)
    assert f"{reason}: {STARTS_THAT_FAIL[reason]}" in state.reason
    assert ("'fetch'" in state.reason) is of_init_container


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_what_no_registry_can_mend_is_hopeless(reason: str) -> None:
    assert read_state(pod(node="n", own=waiting(reason, "x"))).hopeless


@pytest.mark.parametrize("phase", ["Running", "Failed", "Succeeded"])
def test_out_of_memory_is_told_in_whatever_phase(phase: str) -> None:
    state = read_state(pod(phase=phase, own=ended(137, "OOMKilled")))
    assert (state.stage, state.cause, state.exit_code) == (Stage.FAILED, Cause.OUT_OF_MEMORY, 137)
    assert "raise worker_memory" in state.reason


def test_a_process_that_ended_because_a_child_of_it_was_killed_for_memory_ran_out_of_memory() -> None:
    """The runtime notes the kill in the container's group, whatever code the worker itself ended with."""
    state = read_state(pod(phase="Failed", own=ended(1, "OOMKilled", "the pool of processes broke")))
    assert (state.cause, state.exit_code) == (Cause.OUT_OF_MEMORY, 1)
    assert "the pool of processes broke" in state.reason


def test_what_a_sidecar_ran_out_of_memory_for_is_not_the_workers() -> None:
    sidecar = {"name": "sidecar", "ready": False, "state": ended(137, "OOMKilled")}
    serving = pod(phase="Running", own={"running": {}}, ready=True, ip="10.0.0.1", others=[sidecar])
    assert read_state(serving).stage is Stage.READY
    assert read_state(pod(phase="Failed", own=ended(1), others=[sidecar])).cause is Cause.PROCESS


NATIVE_SIDECAR = {"name": "istio-proxy", "restartPolicy": "Always"}
BETWEEN_RESTARTS = {
    "it was killed": {"state": ended(137, "OOMKilled")},
    "it waits": {"state": waiting("CrashLoopBackOff", "back-off 10s"), "lastState": ended(137, "OOMKilled")},
    "it runs again and is not ready": {"ready": False, "started": False, "state": {"running": {}}},
}


def with_native_sidecar(found: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    found["spec"]["initContainers"] = [NATIVE_SIDECAR]
    found["status"]["initContainerStatuses"] = [{"name": "istio-proxy", "restartCount": 3, **status}]
    return found


@pytest.mark.parametrize("status", BETWEEN_RESTARTS)
def test_a_native_sidecar_that_is_killed_restarts_beside_a_worker_that_serves_on(status: str) -> None:
    state = read_state(with_native_sidecar(ready_pod(), BETWEEN_RESTARTS[status]))
    assert (state.stage, state.cause, state.reason) == (Stage.READY, Cause.NONE, "")


@pytest.mark.parametrize("status", BETWEEN_RESTARTS)
def test_what_became_of_a_native_sidecar_is_not_why_its_pod_ended(status: str) -> None:
    failed = read_state(with_native_sidecar(pod(phase="Failed", own=ended(1)), BETWEEN_RESTARTS[status]))
    assert (failed.cause, failed.exit_code) == (Cause.PROCESS, 1)
    unknown = read_state(with_native_sidecar(pod(phase="Failed"), BETWEEN_RESTARTS[status]))
    assert "Kubernetes does not say why" in unknown.reason


def test_an_init_container_that_is_killed_for_memory_ends_the_pod_only_where_it_is_not_started_again() -> None:
    killed = [{"name": "fetch", "state": ended(137, "OOMKilled")}]
    pending = read_state(pod(node="n", own=waiting("PodInitializing"), initContainerStatuses=killed))
    assert pending.stage is Stage.CREATING
    state = read_state(pod(phase="Failed", own=waiting("PodInitializing"), initContainerStatuses=killed))
    assert (state.stage, state.cause) == (Stage.FAILED, Cause.OUT_OF_MEMORY)
    assert "'fetch'" in state.reason
    # Once it has ended well, its Pod's end has another cause.
    done = [{"name": "fetch", "state": ended(0, "Completed")}]
    assert read_state(pod(phase="Failed", own=ended(1), initContainerStatuses=done)).cause is Cause.PROCESS


def test_a_sidecar_that_ends_again_and_again_before_the_worker_starts_is_waited_for_and_named() -> None:
    found = with_native_sidecar(pod(node="n", own=waiting("PodInitializing")), BETWEEN_RESTARTS["it waits"])
    state = read_state(found)
    assert (state.stage, state.hopeless) == (Stage.CREATING, False)
    assert "'istio-proxy': it ends again and again" in state.reason
    assert "exit code 137" in state.reason


def test_a_container_for_debugging_that_ends_or_waits_says_nothing_of_its_pod() -> None:
    for status in (ended(137, "OOMKilled"), waiting("ErrImagePull", "denied")):
        found = ready_pod()
        found["status"]["ephemeralContainerStatuses"] = [{"name": "debugger", "state": status}]
        assert read_state(found).stage is Stage.READY


def test_a_worker_that_serves_again_has_its_former_end_behind_it() -> None:
    found = ready_pod()
    found["status"]["containerStatuses"][-1]["lastState"] = ended(137, "OOMKilled")
    assert read_state(found).stage is Stage.READY


def test_a_kill_for_another_reason_is_not_called_out_of_memory() -> None:
    state = read_state(pod(phase="Failed", own=ended(137)))
    assert state.cause is Cause.PROCESS
    assert "OOM" not in state.reason
    assert "SIGKILL" in state.reason


def test_an_error_exit_is_not_called_an_eviction() -> None:
    assert read_state(pod(phase="Failed", own=ended(1, "Error"))).cause is Cause.PROCESS


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("PreemptionByScheduler", Cause.PREEMPTED),
        ("DeletionByTaintManager", Cause.NODE),
        ("EvictionByEvictionAPI", Cause.EVICTED),
        ("DeletionByPodGC", Cause.NODE),
        ("TerminationByKubelet", Cause.NODE),
        ("OneOfTheFuture", Cause.EVICTED),
    ],
)
@pytest.mark.parametrize("deleting", [True, False])
def test_a_disruption_is_told_by_its_condition(reason: str, cause: Cause, deleting: bool) -> None:
    phase, own = ("Running", {"running": {}}) if deleting else ("Failed", ended(137))
    state = read_state(pod(phase=phase, own=own, conditions=[disruption(reason)], deleting=deleting))
    assert state.cause is cause
    assert "as Kubernetes says it" in state.reason
    assert state.stage is (Stage.TERMINATING if deleting else Stage.FAILED)


def test_a_full_disk_is_an_eviction_with_the_nodes_words() -> None:
    state = read_state(
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage.")
    )
    assert state.cause is Cause.EVICTED
    assert "ephemeral-storage" in state.reason


def test_a_node_that_rejects_a_pod_is_quoted() -> None:
    state = read_state(pod(phase="Failed", reason="OutOfcpu", message="Pod was rejected: not enough cpu"))
    assert state.cause is Cause.REJECTED
    assert "OutOfcpu: Pod was rejected" in state.reason


def test_the_container_is_found_by_its_name_and_not_by_its_place() -> None:
    assert read_state(pod(phase="Running", own=waiting("ErrImagePull"), others=[SIDECAR])).stage is Stage.PULL_FAILING


def test_a_worker_that_has_ended_beside_a_running_sidecar_lingers() -> None:
    state = read_state(pod(phase="Running", own=ended(0, "Completed"), others=[SIDECAR]))
    assert (state.stage, state.lingers) == (Stage.SUCCEEDED, True)
    assert not read_state(pod(phase="Running", own=ended(0, "Completed"))).lingers


def test_a_pod_on_a_lost_node_lingers() -> None:
    assert read_state(pod(phase="Unknown", reason="NodeLost", own={"running": {}})).lingers


@pytest.mark.parametrize("code", [70, 78])
def test_a_worker_that_says_that_it_cannot_work_is_not_started_again(code: int) -> None:
    assert read_state(pod(phase="Failed", own=ended(code))).hopeless
    assert not read_state(pod(phase="Failed", own=ended(1))).hopeless


def test_the_last_log_lines_are_told() -> None:
    log = "\n".join(f"line {number}" for number in range(30))
    reason = read_state(pod(phase="Failed", own=ended(1, "Error", log))).reason
    assert "  line 29" in reason
    assert "line 19" not in reason


def test_an_init_container_that_fails_is_named() -> None:
    statuses = [{"name": "fetch", "state": ended(3)}]
    assert "'fetch'" in read_state(pod(phase="Failed", initContainerStatuses=statuses)).reason
    waits = [{"name": "fetch", "image": "i", "state": waiting("ErrImagePull", "denied")}]
    assert "'fetch'" in read_state(pod(initContainerStatuses=waits, own=waiting("PodInitializing"))).reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)
WORDS = st.sampled_from(["Running", "Failed", "Pending", "Evicted", "OOMKilled", "True", "False", "worker", ""])
STATES = st.dictionaries(
    st.sampled_from(["running", "waiting", "terminated"]),
    JSON | st.dictionaries(st.sampled_from(["reason", "message", "exitCode"]), WORDS | JSON),
)
STATUSES = JSON | st.lists(
    JSON | st.fixed_dictionaries({}, optional={"name": WORDS, "ready": JSON, "state": STATES | JSON, "image": WORDS})
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "metadata": JSON | st.dictionaries(st.sampled_from(["deletionTimestamp", "name"]), JSON),
            "spec": JSON
            | st.dictionaries(st.sampled_from(["nodeName", "containers", "initContainers", "schedulingGates"]), JSON),
            "status": JSON
            | st.fixed_dictionaries(
                {},
                optional={
                    "phase": WORDS | JSON,
                    "reason": WORDS | JSON,
                    "podIP": JSON,
                    "containerStatuses": STATUSES,
                    "initContainerStatuses": STATUSES,
                    "conditions": JSON | st.lists(st.dictionaries(st.sampled_from(["type", "status"]), WORDS)),
                },
            ),
        },
    )
)
def test_every_json_object_has_a_state(found: dict[str, Any]) -> None:
    state = read_state(found)
    assert state.stage is not Stage.GONE
    assert state.stage is not Stage.READY or state.address
