"""The driver of an object: its owner, or, if a StatefulSet owns it, the driver that its labels name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daft_k8s.kube.objects import names

OUTSIDE = "outside"
"""The driver of a session that no Pod drives."""


def driver_of(metadata: Mapping[str, Any]) -> str:
    """The driver's Pod, or its Job if no more is known, or `OUTSIDE`."""
    owners = [str(owner["name"]) for owner in metadata.get("ownerReferences") or () if owner.get("kind") == "Pod"]
    labels = metadata.get("labels") or {}
    if owners or names.DRIVER_POD_LABEL not in labels:
        return owners[0] if owners else OUTSIDE
    return str(labels.get(names.JOB_LABEL) or OUTSIDE)


def is_driven_by(metadata: Mapping[str, Any], driver: Mapping[str, Any]) -> bool:
    """True if an object belongs to the session that this Pod drives.

    Args:
        metadata: The metadata of the object.
        driver: The driver's Pod.
    """
    own = driver["metadata"]
    uid = (metadata.get("labels") or {}).get(names.DRIVER_POD_LABEL)
    return driver_of(metadata) == own["name"] or (uid is not None and uid == names.label_value(str(own.get("uid"))))
