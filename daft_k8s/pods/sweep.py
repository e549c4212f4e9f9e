"""What dead sessions left in a namespace, and how it goes.

A session of a driver in a Pod dies with that Pod, and the cluster removes what the Pod owns. What is left to be swept
belongs to drivers outside the cluster that were killed, and to drivers whose Pod outlived them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.pods import driver_process, lease, names
from daft_k8s.pods.problems import ApiError
from daft_k8s.pods.stateful_set import set_name

if TYPE_CHECKING:
    from daft_k8s.pods.api import Api
    from daft_k8s.pods.home import Home

logger = logging.getLogger(__name__)

_ROUNDS = 3
_GRACE_SECONDS = 1
"""For workers whose driver is gone: nobody waits for anything that they do."""


async def sweep_dead_sessions(api: Api, namespace: str) -> list[str]:
    """Removes the sessions of the namespace whose Lease nobody renews any more, whoever's they were.

    Such a session is dead by definition: its workers have ended by themselves, or are about to. Returns the
    sessions' ids.

    Raises:
        ApiError: Leases cannot be listed, or something could not be deleted.
    """
    leases = await api.list_leases(namespace, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
    dead = [found for found in leases if lease.is_dead(found, api.now())]
    for found in dead:
        whose = _label(found, names.OWNER_LABEL) or (found.get("spec") or {}).get("holderIdentity") or "a driver"
        logger.info("removing the session %s of %s, which has not renewed its Lease since %s",
                    _label(found, names.SESSION_LABEL), whose, found["spec"]["renewTime"])  # fmt: skip
        await remove_session(api, namespace, _label(found, names.SESSION_LABEL))
    return [_label(found, names.SESSION_LABEL) for found in dead]


async def sweep_predecessors(api: Api, home: Home, session_id: str) -> list[str]:
    """Removes the sessions of this Pod's former drivers: its container was restarted, or the process was.

    Args:
        api: The cluster.
        home: Says which Pod this is.
        session_id: The session that is not meant.

    Raises:
        ApiError: Pods cannot be listed, or something could not be deleted.
    """
    pod = home.labels.get(names.DRIVER_POD_LABEL)
    if pod is None:
        return []
    selector = f"{names.DRIVER_POD_LABEL}={pod},{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"
    left = (await api.list_pods(home.namespace, selector))[0]
    try:
        left = [*left, *await api.list_leases(home.namespace, selector)]
    except ApiError as error:
        logger.debug("Leases cannot be listed: %s", error)
    drivers = {
        _label(item, names.SESSION_LABEL): (item["metadata"].get("annotations") or {}).get(names.DRIVER_ANNOTATION, "")
        for item in left
    }
    drivers.pop(names.label_value(session_id), None)
    dead = [session for session, driver in drivers.items() if driver_process.is_gone(driver, alone=home.driver_alone)]
    for session in dead:
        logger.info("removing the session %s of a former driver process of this Pod", session)
        await remove_session(api, home.namespace, session)
    return dead


async def remove_session(api: Api, namespace: str, session: str, grace_seconds: int = _GRACE_SECONDS) -> None:
    """Deletes everything that a session has made; the Lease goes last, as it is what leads to the rest.

    Args:
        api: The cluster.
        namespace: Where the session's workers are.
        session: The value of its label.
        grace_seconds: How long workers may take to end.

    Raises:
        ApiError: Something could not be deleted.
    """
    # First: as long as a StatefulSet is there, its controller makes anew what is deleted. Who may not delete these has
    # made none.
    await _if_allowed(api.delete_stateful_set(namespace, set_name(session)))
    await _if_allowed(api.delete_service(namespace, names.secret_name(session)))
    selector = f"{names.SESSION_LABEL}={session},{names.ROLE_LABEL}={names.WORKER_ROLE}"
    problems: list[BaseException] = []
    for _ in range(_ROUNDS):
        # The right to delete many at once is often not given; one by one, then.
        await _if_allowed(api.delete_pods(namespace, selector, grace_seconds))
        left = [pod for pod in (await api.list_pods(namespace, selector))[0] if not _is_going(pod)]
        deletions = (api.delete_pod(namespace, pod["metadata"]["name"], grace_seconds) for pod in left)
        results = await asyncio.gather(*deletions, return_exceptions=True)
        problems = [result for result in results if isinstance(result, BaseException)]
        if not left:
            break
    if problems:
        raise problems[0]
    await api.delete_secret(namespace, names.secret_name(session))
    await _if_allowed(api.delete_lease(namespace, names.lease_name(session)))


async def _if_allowed(call: Awaitable[None]) -> None:
    try:
        await call
    except ApiError as error:
        if error.status != 403:
            raise


def _label(item: Mapping[str, Any], label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _is_going(pod: Mapping[str, Any]) -> bool:
    return bool(pod.get("metadata", {}).get("deletionTimestamp"))
