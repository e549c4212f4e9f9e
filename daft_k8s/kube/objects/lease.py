"""A session's Lease: the sign that its driver lives, and outside the cluster the owner of all that it has made. Pure.

All its times are those of the API server: clocks of laptops differ by minutes.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.target import Owner

if TYPE_CHECKING:
    from daft_k8s.kube.objects.target import Target

API_VERSION = "coordination.k8s.io/v1"
RENEW_SECONDS = 15.0
PUBLISH_SECONDS = 5.0
"""The time between two writes of a changed summary: short enough to watch, and no load for the API server."""
DURATION_SECONDS = 30
"""The duration of a Lease: the next renewal, and one that is missed."""
MOST_LIFE = datetime.timedelta(days=7)
"""A Lease counts for no longer than that without a renewal: any account with the right to create Leases may write any
duration."""
DEAD_AFTER_DURATIONS = 5
"""The number of durations without a renewal after which a session counts as dead: 150 s, more than
`orphan_timeout_seconds`, so by then its workers have gone by themselves, if their driver has."""


def session_lease(session_id: str, target: Target, *, holder: str, orphan_timeout_seconds: float,
                  now: datetime.datetime) -> dict[str, Any]:  # fmt: skip
    """A session's Lease, new.

    Args:
        session_id: The session.
        target: The session's target, with its owner if that is known.
        holder: The driver, for people.
        orphan_timeout_seconds: The time that workers outlive their driver; a Lease lasts longer.
        now: The API server's time.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "Lease",
        "metadata": {
            "name": names.lease_name(session_id),
            "namespace": target.namespace,
            "labels": {
                **target.labels,
                names.SESSION_LABEL: names.label_value(session_id),
                names.MANAGED_BY_LABEL: names.MANAGED_BY,
            },
            "annotations": dict(target.annotations),
            **({} if target.owner is None else {"ownerReferences": [target.owner.reference()]}),
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(DURATION_SECONDS, -int(-orphan_timeout_seconds // DEAD_AFTER_DURATIONS)),
            "acquireTime": _text(now),
            **renewal(now)["spec"],
        },
    }


def renewal(now: datetime.datetime, summary: str = "") -> dict[str, Any]:
    """The change that renews a Lease and tells what its session does; "": that is not known, and told no more."""
    told = {names.SUMMARY_ANNOTATION: summary or None}  # None removes it: what was told before would seem to go on
    return {"metadata": {"annotations": told}, "spec": {"renewTime": _text(now)}}


def bears_name_of_session(lease: Mapping[str, Any]) -> bool:
    """True if this is the one Lease that a session of this label can have: names are unique, labels are not."""
    metadata = lease["metadata"]
    session = (metadata.get("labels") or {}).get(names.SESSION_LABEL)
    return bool(session) and metadata.get("name") == names.lease_name(str(session))


def owners(lease: Mapping[str, Any]) -> frozenset[str]:
    """The uids that own what the session of this Lease has made: the Lease's own, and the driver's Pod's."""
    metadata = lease["metadata"]
    references = [item for item in metadata.get("ownerReferences") or () if item.get("kind") == "Pod"]
    return frozenset(str(item["uid"]) for item in (metadata, *references) if item.get("uid"))


def owner(lease: Mapping[str, Any]) -> Owner:
    """The Lease as the owner of other objects."""
    metadata = lease["metadata"]
    return Owner(str(metadata["name"]), str(metadata["uid"]), "Lease", API_VERSION)


def is_dead(lease: Mapping[str, Any], now: datetime.datetime) -> bool:
    """True if the Lease has not been renewed for a long time. One that cannot be read is not dead."""
    renewed = read_time((lease.get("spec") or {}).get("renewTime"))
    return renewed is not None and now - renewed > life(lease)


def life(lease: Mapping[str, Any]) -> datetime.timedelta:
    """The time for which a Lease may stay as it is; for ever if it does not say."""
    seconds = (lease.get("spec") or {}).get("leaseDurationSeconds")
    if not isinstance(seconds, int):
        return datetime.timedelta.max
    most = int(MOST_LIFE.total_seconds()) // DEAD_AFTER_DURATIONS
    return datetime.timedelta(seconds=DEAD_AFTER_DURATIONS * min(max(DURATION_SECONDS, seconds), most))


def _text(time: datetime.datetime) -> str:
    return time.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_time(text: object) -> datetime.datetime | None:
    """A time as the API writes it; None: it is none."""
    if not isinstance(text, str):
        return None
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return datetime.datetime.strptime(text, form).replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            continue
    return None
