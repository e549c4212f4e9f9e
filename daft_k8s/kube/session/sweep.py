"""The removal of what dead sessions left in a namespace.

A session of a driver in a Pod dies with that Pod, and the cluster removes what the Pod owns. What is left to be swept
belongs to drivers outside the cluster that were killed, and to drivers whose Pod outlived them.

A Lease without renewals does not prove a death: the API server may have been away, or away from that driver alone.
But workers do prove life. They end when their driver has not called for a while; where one still serves, it is called.

Invariant: a Lease proves nothing by its name or labels, as others may make Leases. The uid of its owner proves that an
object of a sweep is the session's. The cluster's garbage collector does the rest when the Lease goes.
"""

from __future__ import annotations

import asyncio
import datetime
import enum
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.together import together
from daft_k8s.kube.objects import lease, names
from daft_k8s.kube.objects.manifest import session_secret_of
from daft_k8s.kube.objects.stateful_set import set_name
from daft_k8s.kube.pods.state import read_state
from daft_k8s.kube.session import driver_process
from daft_k8s.printable import printable

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Api
    from daft_k8s.kube.objects.target import Target

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_OTHERS_NOT_READY = ("ContainersNotReady", "ReadinessGatesNotReady")
"""A kubelet's reasons for a Pod that is not ready, though its worker may be; a lost node's Pods have neither."""
_ROUNDS = 3
_GRACE_SECONDS = 1
"""For workers whose driver is gone: no driver waits for their tasks."""
CONFIRM_SECONDS = 60.0
"""The time in which a live driver renews its Lease once the API server can be asked again: a few tries."""


class Remains(NamedTuple):
    """A session that is to be removed."""

    session: str
    """The value of its label."""
    owners: frozenset[str] | None = None
    """The uids of the Lease and the driver's Pod: only what they own goes. None: all that bears the session's name."""
    lease_uid: str = ""
    """Deletes this Lease and none that was made since; "": whichever has the session's name."""
    secret: str = ""
    """The name of its Secret; "": as its Pods say."""


class _Signs(enum.Enum):
    """The evidence from the Pods of a session whose Lease has run out."""

    DEATH = enum.auto()
    LIFE = enum.auto()
    NONE = enum.auto()


async def sweep_dead_sessions(api: Api, namespace: str, *, confirm_seconds: float = CONFIRM_SECONDS) -> list[str]:
    """Removes the sessions of the namespace that `find_dead_sessions` finds, of all users; returns their ids.

    Raises:
        ApiError: Leases or Pods cannot be listed; or some sessions, which it names, could not be removed. The others
            were.
    """

    async def dead() -> AsyncGenerator[Remains, None]:
        async for found in find_dead_sessions(api, namespace, confirm_seconds=confirm_seconds):
            session = _session(found)
            whose = printable(
                str(_label(found, names.OWNER_LABEL) or found["spec"].get("holderIdentity") or "a driver")
            )
            logger.info("removing the session %s of %s, which has not renewed its Lease since %s",
                        session, whose, found["spec"]["renewTime"])  # fmt: skip
            yield remains_of(found)

    return _all_or_raise(*await remove_each(api, namespace, dead()))


def remains_of(found: Mapping[str, Any]) -> Remains:
    """The session of a Lease that has run out."""
    return Remains(_session(found), lease.owners(found), str(found["metadata"].get("uid") or ""))


async def find_dead_sessions(
    api: Api, namespace: str, *, confirm_seconds: float = CONFIRM_SECONDS
) -> AsyncGenerator[dict[str, Any], None]:
    """The Leases of sessions that are not used any more.

    Sessions whose workers have all ended, some of them after the Lease was last renewed, are found at once. Sessions
    without evidence from workers are found if their Lease stays as it is for a while longer.

    Args:
        api: The cluster.
        namespace: The namespace.
        confirm_seconds: The length of that wait.

    Raises:
        ApiError: Leases or Pods cannot be listed.
    """
    unclear: dict[str, object] = {}
    for found in await _run_out(api, namespace):
        signs = await _read_signs(api, namespace, found)
        if signs is _Signs.NONE:
            unclear[_session(found)] = found["spec"]["renewTime"]
        elif signs is _Signs.DEATH:
            yield found
    if not unclear:
        return
    await asyncio.sleep(confirm_seconds)
    for found in await _run_out(api, namespace):
        # Compared with itself, not with a clock: its writer lives, even if the writer's clock is wrong.
        still = unclear.get(_session(found)) == found["spec"]["renewTime"]
        if still and await _read_signs(api, namespace, found) is not _Signs.LIFE:
            yield found


async def sweep_predecessors(api: Api, target: Target, session_id: str) -> list[str]:
    """Removes the sessions of this Pod's former drivers: its container was restarted, or the process was.

    Args:
        api: The cluster.
        target: Says which Pod this is.
        session_id: The session that is not meant.

    Raises:
        ApiError: Pods or Leases cannot be listed; or some sessions, which it names, could not be removed. The others
            were.
    """
    pod = target.labels.get(names.DRIVER_POD_LABEL)
    if pod is None:
        return []
    selector = f"{names.DRIVER_POD_LABEL}={pod},{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    (left, _), leases = await together(
        api.list_pods(target.namespace, selector), _if_allowed(api.list_leases(target.namespace, selector))
    )
    remains: dict[str, Remains] = {}
    processes: dict[str, set[str]] = {}
    named = [found for found in leases or () if lease.bears_name_of_session(found)]
    for found in named:
        uid = str(found["metadata"]["uid"])
        remains[_session(found)] = Remains(_session(found), frozenset({pod, uid}), uid)
    for item in [*named, *left]:
        remains.setdefault(_session(item), Remains(_session(item), frozenset({pod})))
        # All of them count: a Lease may be forged, and name a living session of this Pod.
        processes.setdefault(_session(item), set()).add(_driver(item))
    remains.pop(names.label_value(session_id), None)

    async def dead() -> AsyncGenerator[Remains, None]:
        for session, gone in remains.items():
            if all(driver_process.is_gone(process, alone=target.driver_alone) for process in processes[session]):
                logger.info("removing the session %s of a former driver process of this Pod", session)
                yield gone

    return _all_or_raise(*await remove_each(api, target.namespace, dead()))


async def remove_each(
    api: Api, namespace: str, sessions: AsyncIterable[Remains]
) -> tuple[list[str], dict[str, ApiError]]:
    """Removes what can be removed; returns those sessions, and why the others could not be.

    Args:
        api: The cluster.
        namespace: The namespace of the sessions' workers.
        sessions: The sessions to remove.
    """
    removed: list[str] = []
    problems: dict[str, ApiError] = {}
    async for remains in sessions:
        try:
            await remove_session(api, namespace, remains)
        except ApiError as error:
            problems[remains.session] = error
        else:
            removed.append(remains.session)
    return removed, problems


def _all_or_raise(removed: list[str], problems: Mapping[str, ApiError]) -> list[str]:
    if problems:
        words = "; ".join(f"{session}: {error}" for session, error in problems.items())
        raise ApiError("remove sessions", next(iter(problems.values())).status, words)
    return removed


async def remove_session(api: Api, namespace: str, remains: Remains, grace_seconds: int = _GRACE_SECONDS) -> None:
    """Deletes what a session has made; the Lease goes last, as it is what leads to the rest.

    Args:
        api: The cluster.
        namespace: The namespace of the session's workers.
        remains: The session, and how much of it.
        grace_seconds: The time for workers to end.

    Raises:
        ApiError: Something could not be deleted.
    """
    session, owners = remains.session, remains.owners
    pods = [] if remains.secret else await _list_owned(api, namespace, session, owners)
    secrets = {remains.secret} if remains.secret else {session_secret_of(pod, session) for pod in pods} - {""}
    # First: as long as a StatefulSet is there, its controller makes anew what is deleted. Who may not delete these has
    # made none.
    if owners is None or any(_controller(pod) == set_name(session) for pod in pods):
        await _if_allowed(api.delete_stateful_set(namespace, set_name(session)))
        await _if_allowed(api.delete_service(namespace, names.service_name(session)))
    problems: list[BaseException] = []
    for _ in range(_ROUNDS):
        if owners is None:
            # The right to delete many at once is often not given; one by one, then.
            await _if_allowed(api.delete_pods(namespace, _selector(session), grace_seconds))
        left = [pod for pod in await _list_owned(api, namespace, session, owners) if not _is_going(pod)]
        deletions = (api.delete_pod(namespace, pod["metadata"]["name"], grace_seconds) for pod in left)
        results = await asyncio.gather(*deletions, return_exceptions=True)
        problems = [result for result in results if isinstance(result, BaseException)]
        if not left:
            break
    if problems:
        raise problems[0]
    for secret in sorted(secrets):
        await _if_allowed(api.delete_secret(namespace, secret))
    await _if_allowed(_delete_lease(api, namespace, names.lease_name(session), remains.lease_uid))


async def _delete_lease(api: Api, namespace: str, name: str, uid: str) -> None:
    try:
        await api.delete_lease(namespace, name, uid)
    except ApiError as error:
        if not (uid and error.status == 409):  # another has that name now, whose session lives
            raise


async def _list_owned(api: Api, namespace: str, session: str, owners: frozenset[str] | None) -> list[dict[str, Any]]:
    pods, _ = await api.list_pods(namespace, _selector(session))
    return [pod for pod in pods if _is_owned(pod, owners)]


def _selector(session: str) -> str:
    return f"{names.SESSION_LABEL}={session},{names.ROLE_LABEL}={names.WORKER_ROLE}"


def _is_owned(pod: Mapping[str, Any], owners: frozenset[str] | None) -> bool:
    """True if one of the owners, or a StatefulSet of theirs, owns the Pod, or the Pod names it as its driver's Pod."""
    metadata = pod["metadata"]
    marks = (
        *(item.get("uid") for item in metadata.get("ownerReferences") or ()),
        (metadata.get("annotations") or {}).get(names.OWNER_UID_ANNOTATION),
        _label(pod, names.DRIVER_POD_LABEL),
    )
    return owners is None or not owners.isdisjoint(mark for mark in marks if mark)


def _controller(pod: Mapping[str, Any]) -> str:
    """The name of the StatefulSet that makes this Pod; "": none does."""
    references = pod["metadata"].get("ownerReferences") or ()
    return next((str(item.get("name")) for item in references if item.get("kind") == "StatefulSet"), "")


async def _run_out(api: Api, namespace: str) -> list[dict[str, Any]]:
    leases = await api.list_leases(namespace, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
    return [found for found in leases if lease.bears_name_of_session(found) and lease.is_dead(found, api.now())]


async def _read_signs(api: Api, namespace: str, found: Mapping[str, Any]) -> _Signs:
    session = _session(found)
    of_session = await _list_owned(api, namespace, session, None)
    pods = [pod for pod in of_session if _is_owned(pod, lease.owners(found))]
    if of_session and not pods:
        logger.info("the Lease %s has run out, but owns none of the Pods of the session %s, so it proves nothing; it "
                    "is left alone", found["metadata"]["name"], session)  # fmt: skip
        return _Signs.LIFE
    # Whatever has served for longer than that was called since it began.
    latest = api.now() - lease.life(found)
    if any(_serves_since(pod, latest) for pod in pods):
        logger.info("the session %s has not renewed its Lease since %s, but its workers are still called by their "
                    "driver; it is left alone", session, found["spec"]["renewTime"])  # fmt: skip
        return _Signs.LIFE
    # A living session keeps Pods that have ended. Only an end after the last renewal may be that of its driver, too.
    renewed = lease.read_time(found["spec"]["renewTime"])
    over = bool(pods) and all(read_state(pod).stage.over for pod in pods)
    return _Signs.DEATH if over and any(_ended_after(pod, renewed) for pod in pods) else _Signs.NONE


def _serves_since(pod: Mapping[str, Any], latest: datetime.datetime) -> bool:
    """True if its worker's process has begun before that time and is still there, as its node says.

    The worker's own readiness counts, and not that of its sidecars. The condition shows a lost node, which the
    container's status does not: the control plane then makes the condition of its Pods false, and changes nothing else.
    """
    status = pod.get("status") or {}
    own: Mapping[str, Any] = next(
        (item for item in status.get("containerStatuses") or () if item.get("name") == names.CONTAINER), {}
    )
    conditions = status.get("conditions") or ()
    condition: Mapping[str, Any] = next((item for item in conditions if item.get("type") == "Ready"), {})
    ready = condition.get("status") == "True" or (
        own.get("ready") is True and condition.get("reason") in _OTHERS_NOT_READY
    )
    began = _time(pod, "running", "startedAt")
    return ready and not _is_going(pod) and began is not None and began < latest


def _ended_after(pod: Mapping[str, Any], earliest: datetime.datetime | None) -> bool:
    """True if the worker's process has ended after that time; False where either time is not known."""
    ended = _time(pod, "terminated", "finishedAt")
    return earliest is not None and ended is not None and ended > earliest


def _time(pod: Mapping[str, Any], state: str, which: str) -> datetime.datetime | None:
    """A time of the state that the worker's container is in; None: it is in another, or its node does not say."""
    for item in (pod.get("status") or {}).get("containerStatuses") or ():
        if item.get("name") == names.CONTAINER:
            return lease.read_time(((item.get("state") or {}).get(state) or {}).get(which))
    return None


async def _if_allowed(call: Awaitable[Result]) -> Result | None:
    """Returns the result of a call; None: the driver lacks the right to it."""
    try:
        return await call
    except ApiError as error:
        if error.status != 403:
            raise
        logger.debug("not allowed, and done without: %s", error)
        return None


def _session(item: Mapping[str, Any]) -> str:
    return _label(item, names.SESSION_LABEL)


def _driver(item: Mapping[str, Any]) -> str:
    """The process that drives the session of this Pod or Lease."""
    return str((item["metadata"].get("annotations") or {}).get(names.DRIVER_ANNOTATION, ""))


def _label(item: Mapping[str, Any], label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _is_going(pod: Mapping[str, Any]) -> bool:
    return bool(pod.get("metadata", {}).get("deletionTimestamp"))
