"""The state of a Pod from its JSON: one total function, whose rules are tried in a fixed order."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daft_k8s.kube.objects import names
from daft_k8s.printable import printable
from daft_k8s.wire import exit_codes
from daft_k8s.wire.quoted_log import quote_log

_SIGNALS = 128


class Stage(enum.Enum):
    """The stages of a Pod's life, from the first to the last."""

    PENDING = "waits for a node"
    GATED = "it is not admitted to scheduling yet"
    UNSCHEDULABLE = "no node takes it"
    CREATING = "its node pulls the image and makes its volumes"
    PULL_FAILING = "its image cannot be pulled"
    CONFIG_FAILING = "its container cannot be made"
    STARTING = "its process starts"
    READY = "it serves"
    TERMINATING = "it is being deleted"
    SUCCEEDED = "its process has ended well"
    FAILED = "it has failed"
    GONE = "it is not there any more"

    @property
    def over(self) -> bool:
        """True if its process has ended for good."""
        return self in (Stage.SUCCEEDED, Stage.FAILED, Stage.GONE)


class Cause(enum.Enum):
    """The reason why a Pod has failed, or will."""

    NONE = "none"
    OUT_OF_MEMORY = "out of memory"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE = "node lost or shut down"
    REJECTED = "rejected by its node"
    IMAGE = "image"
    SPEC = "specification"
    PROCESS = "the process"


@dataclass(frozen=True)
class PodState:
    """The state of a Pod."""

    stage: Stage
    reason: str = ""
    """For people, with Kubernetes' own words; "" where there is nothing to explain."""
    cause: Cause = Cause.NONE
    exit_code: int | None = None
    address: str = ""
    """The Pod's IP; known at the latest when it is ready."""
    node: str = ""
    """The node of the Pod, or the one meant for it."""
    hopeless: bool = False
    """Waiting, or another Pod like it, would change nothing."""
    vague: bool = False
    """Its image is waited for, and this does not say what was wrong with it; what was said before still holds."""
    lingers: bool = False
    """Its worker's process has ended, but the Pod still holds what it was given."""
    going: bool = False
    """Its worker's process has ended, and the Pod is deleted already: it will not stay to be read."""


GONE = PodState(Stage.GONE, "the Pod was deleted")

Pod = Mapping[str, Any]


def read_state(pod: Pod, container: str = names.CONTAINER) -> PodState:
    """The state of a Pod; total: any JSON object has one.

    Args:
        pod: The Pod as the API gives it.
        container: The name of the worker's container. Its place in the lists means nothing.
    """
    node = str(_map(_map(pod).get("spec")).get("nodeName") or "")
    for rule in _RULES:
        state = rule(pod, container)
        if state is not None:
            over = state.stage.over
            return dataclasses.replace(
                state, node=node, lingers=over and _lingers(pod, container), going=over and _is_deleted(pod)
            )
    return PodState(Stage.PENDING)


def _lingers(pod: Pod, container: str) -> bool:
    if _status(pod).get("phase") in ("Succeeded", "Failed"):
        return False
    statuses = list(_maps(_status(pod).get("containerStatuses")))
    others_run = any(item.get("name") != container and _runs(item) for item in statuses)
    return others_run or not _terminated(pod, container)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, (list, tuple)):
        yield from (item for item in value if isinstance(item, Mapping))


def _runs(status: Mapping[str, Any]) -> bool:
    return isinstance(_map(status.get("state")).get("running"), Mapping)


def _status(pod: Pod) -> Mapping[str, Any]:
    return _map(_map(pod).get("status"))


def _own(pod: Pod, container: str) -> Mapping[str, Any]:
    found = (item for item in _maps(_status(pod).get("containerStatuses")) if item.get("name") == container)
    return next(found, {})


def _condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    found = (item for item in _maps(_status(pod).get("conditions")) if item.get("type") == kind)
    return next(found, {})


def _quoted(source: Mapping[str, Any]) -> str:
    """Reason and message of a status, in one line, unless the message is a log."""
    reason = printable(str(source.get("reason") or ""))
    message = printable(str(source.get("message") or "").strip(), lines=True)
    return f"{reason}: {message}" if reason and message else reason or message


def _is_deleted(pod: Pod) -> bool:
    return bool(_map(_map(pod).get("metadata")).get("deletionTimestamp"))


def _terminated(pod: Pod, container: str) -> Mapping[str, Any]:
    own = _own(pod, container)
    # After a restart in place, which happens by hand only, the last end is history.
    return _map(_map(own.get("state")).get("terminated"))


def _ended_init_containers(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and ends of the init containers that must succeed before the worker starts.

    A native sidecar (restartPolicy Always, as Istio and others inject) is none of them. It restarts in place, beside a
    worker that goes on, so its end says nothing of the Pod.
    """
    specs = _maps(_map(_map(pod).get("spec")).get("initContainers"))
    sidecars = {spec.get("name") for spec in specs if spec.get("restartPolicy") == "Always"}
    for status in _maps(_status(pod).get("initContainerStatuses")):
        if status.get("name") not in sidecars:
            yield str(status.get("name")), _map(_map(status.get("state")).get("terminated"))


def _out_of_memory(pod: Pod, container: str) -> PodState | None:
    """Counts in any phase: Kubernetes calls some such Pods succeeded."""
    own = _terminated(pod, container)
    if own.get("reason") == "OOMKilled":
        return PodState(
            Stage.FAILED,
            "it was killed because it used more memory than its limit (OOMKilled); raise worker_memory, or run fewer "
            "tasks at once with a smaller worker_cpu" + _log(own),
            Cause.OUT_OF_MEMORY,
            _code(own),
        )
    return None


_DISRUPTIONS = {
    "PreemptionByScheduler": (Cause.PREEMPTED, "it was preempted by a Pod of higher priority"),
    "DeletionByTaintManager": (Cause.NODE, "its node got a taint that it does not tolerate, as lost nodes do"),
    "EvictionByEvictionAPI": (Cause.EVICTED, "it was evicted, as when a node is drained"),
    "DeletionByPodGC": (Cause.NODE, "its node is gone"),
    "TerminationByKubelet": (Cause.NODE, "its node ended it (shutdown, or pressure on its resources)"),
}
_STATUS_CAUSES = {
    "Evicted": (Cause.EVICTED, "its node evicted it"),
    "Preempting": (Cause.PREEMPTED, "it was preempted"),
    "Preempted": (Cause.PREEMPTED, "it was preempted"),
    "NodeLost": (Cause.NODE, "its node is lost"),
    "NodeShutdown": (Cause.NODE, "its node was shut down"),
    "Terminated": (Cause.NODE, "its node was shut down"),
    "Shutdown": (Cause.NODE, "its node was shut down"),
    "DeadlineExceeded": (Cause.SPEC, "it ran longer than its activeDeadlineSeconds"),
}


def _disruption(pod: Pod) -> tuple[Cause, str] | None:
    reason = str(_status(pod).get("reason") or "")
    condition = _condition(pod, "DisruptionTarget")
    known = _STATUS_CAUSES.get(reason)
    if known is None and condition.get("status") == "True":
        known = _DISRUPTIONS.get(str(condition.get("reason")), (Cause.EVICTED, "it was disrupted"))
        return known[0], f"{known[1]} ({_quoted(condition)})"
    if known is None:
        return None
    return known[0], f"{known[1]} ({_quoted(_status(pod))})"


def _failed(pod: Pod, container: str) -> PodState | None:
    if _status(pod).get("phase") != "Failed":
        return None
    ended = _terminated(pod, container)
    disruption = _disruption(pod)
    if disruption is not None:
        return PodState(Stage.FAILED, disruption[1] + _log(ended), disruption[0], _code(ended))
    if ended:
        return _ended(ended)
    for name, init in _ended_init_containers(pod):
        if init.get("reason") == "OOMKilled":
            text = f"the init container {name!r} used more memory than its limit (OOMKilled)"
            return PodState(Stage.FAILED, text, Cause.OUT_OF_MEMORY, _code(init))
        if init.get("exitCode"):
            text = f"the init container {name!r} failed: {_describe(init)}{_log(init)}"
            return PodState(Stage.FAILED, text, Cause.PROCESS, _code(init))
    if _status(pod).get("reason"):  # e.g. OutOfcpu, NodeAffinity, UnexpectedAdmissionError
        return PodState(Stage.FAILED, f"its node rejected it ({_quoted(_status(pod))})", Cause.REJECTED)
    return PodState(Stage.FAILED, "it failed, and Kubernetes does not say why", Cause.PROCESS)


def _succeeded(pod: Pod, container: str) -> PodState | None:
    if _status(pod).get("phase") != "Succeeded":
        return None
    ended = _terminated(pod, container)
    return PodState(Stage.SUCCEEDED, "its process has ended" + _log(ended), exit_code=_code(ended))


def _process_ended(pod: Pod, container: str) -> PodState | None:
    """Sidecars may keep a Pod running whose worker has ended."""
    ended = _terminated(pod, container)
    return _ended(ended) if ended else None


def _node_lost(pod: Pod, container: str) -> PodState | None:
    del container
    if _status(pod).get("phase") != "Unknown" and _status(pod).get("reason") != "NodeLost":
        return None
    text = f"its node is lost ({_quoted(_status(pod)) or 'phase Unknown'})"
    return PodState(Stage.FAILED, text, Cause.NODE)


def _terminating(pod: Pod, container: str) -> PodState | None:
    del container
    if not _is_deleted(pod):
        return None
    cause, text = _disruption(pod) or (Cause.NONE, "a user or a controller deletes it")
    return PodState(Stage.TERMINATING, text, cause, address=_address(pod))


def _running(pod: Pod, container: str) -> PodState | None:
    own = _own(pod, container)
    if not _runs(own):
        return None
    address = _address(pod)
    if own.get("ready") is True and address:
        return PodState(Stage.READY, address=address)
    text = "its process runs but does not serve yet" if address else "its process runs, but the Pod has no IP yet"
    return PodState(Stage.STARTING, text, address=address)


_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
                 "RegistryUnavailable", "SignatureValidationFailed")  # fmt: skip
_HOPELESS_PULLS = ("InvalidImageName", "ErrImageNeverPull")
_NOT_FATAL_PULLS = ("pull QPS exceeded", "toomanyrequests", "429 Too Many Requests")
_BACK_OFF = re.compile(r'Back-off pulling image "[^"]*"')
"""All that older kubelets say between two tries."""
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
                   "PreCreateHookError", "PreStartHookError", "PostStartHookError")  # fmt: skip


def _waiting(pod: Pod, container: str) -> PodState | None:
    statuses = [*_maps(_status(pod).get("initContainerStatuses")), _own(pod, container)]
    image = {str(item.get("name")): item.get("image") for item in _maps(_map(_map(pod).get("spec")).get("containers"))}
    for status in statuses:
        waiting = _map(_map(status.get("state")).get("waiting"))
        reason = str(waiting.get("reason") or "")
        name = str(status.get("name"))
        which = "" if name == container else f"the init container {name!r}: "
        if reason in _PULL_REASONS:
            text = f"{which}its image {image.get(name) or status.get('image')!r} cannot be pulled ({_quoted(waiting)})"
            patient = any(words in str(waiting.get("message")) for words in _NOT_FATAL_PULLS)
            if patient:
                return PodState(Stage.CREATING, text, Cause.IMAGE)
            vague = _BACK_OFF.fullmatch(str(waiting.get("message")).strip()) is not None
            return PodState(Stage.PULL_FAILING, text, Cause.IMAGE, hopeless=reason in _HOPELESS_PULLS, vague=vague)
        if reason == "CrashLoopBackOff" and which:
            # It restarts in place and may yet succeed, as a sidecar whose control plane comes up after it.
            last = _map(_map(status.get("lastState")).get("terminated"))
            text = f"{which}it ends again and again ({_quoted(waiting)}; the last time {_describe(last)}){_log(last)}"
            return PodState(Stage.CREATING, text, Cause.SPEC)
        if reason in _CONFIG_REASONS:
            text = f"{which}its container cannot be started ({_quoted(waiting)})"
            return PodState(Stage.CONFIG_FAILING, text, Cause.SPEC)
    return None


def _gated(pod: Pod, container: str) -> PodState | None:
    """A Pod that a queue holds back, as Kueue does, until there is room for it: no scheduler has looked at it yet."""
    del container
    spec = _map(_map(pod).get("spec"))
    gates = [str(gate.get("name")) for gate in _maps(spec.get("schedulingGates"))]
    if spec.get("nodeName") or not (gates or _condition(pod, "PodScheduled").get("reason") == "SchedulingGated"):
        return None
    which = f"the scheduling gates {', '.join(gates)}" if gates else "its scheduling gates"
    return PodState(Stage.GATED, f"it is held back by {which}, until what has set them (such as Kueue) admits it")


def _scheduling(pod: Pod, container: str) -> PodState | None:
    del container
    condition = _condition(pod, "PodScheduled")
    if condition.get("status") == "True" or _map(_map(pod).get("spec")).get("nodeName"):
        node = _map(_map(pod).get("spec")).get("nodeName")
        text = f"its node{f' {node}' if node else ''} pulls the image, or makes its volumes"
        return PodState(Stage.CREATING, text, address=_address(pod))
    if condition.get("status") == "False":
        words = _quoted(condition)
        return PodState(Stage.UNSCHEDULABLE, f"no node takes it ({words})" if words else "no node takes it", Cause.SPEC)
    return None


def _ended(ended: Mapping[str, Any]) -> PodState:
    code = _code(ended)
    if code == 0:
        return PodState(Stage.SUCCEEDED, "its process has ended" + _log(ended), exit_code=0)
    text = _describe(ended) + _log(ended)
    hopeless = code in exit_codes.NOT_RESTARTABLE or ended.get("reason") in ("ContainerCannotRun", "StartError")
    return PodState(Stage.FAILED, text, Cause.PROCESS, code, hopeless=hopeless)


_MEANINGS = {
    **exit_codes.MEANINGS,
    _SIGNALS + 9: "SIGKILL: by its node, not for its memory limit, or by hand",
    _SIGNALS + 11: "SIGSEGV: a crash in native code",
    _SIGNALS + 6: "SIGABRT: native code gave up",
    _SIGNALS + 15: "SIGTERM",
}


def _describe(ended: Mapping[str, Any]) -> str:
    code = _code(ended)
    meaning = _MEANINGS.get(code) if code is not None else None
    reason = str(ended.get("reason") or "")
    hints = [hint for hint in (meaning, reason if reason != "Error" else "") if hint]
    how = "without an exit code" if code is None else f"with exit code {code}"
    return f"its process ended {how}" + (f" ({', '.join(hints)})" if hints else "")


def _log(ended: Mapping[str, Any]) -> str:
    return quote_log([printable(line) for line in str(ended.get("message") or "").strip().splitlines()[-10:]])


def _code(ended: Mapping[str, Any]) -> int | None:
    code = ended.get("exitCode")
    return code if isinstance(code, int) else None


def _address(pod: Pod) -> str:
    address = _status(pod).get("podIP")
    return address if isinstance(address, str) else ""


_RULES: tuple[Callable[[Pod, str], PodState | None], ...] = (
    _out_of_memory,
    _failed,
    _succeeded,
    _process_ended,
    _node_lost,
    _terminating,
    _running,
    _waiting,
    _gated,
    _scheduling,
)
"""Ends go before everything, as nothing comes after them; a deletion goes before what the process may still say."""
