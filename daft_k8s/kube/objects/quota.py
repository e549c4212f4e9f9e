"""The room that ResourceQuotas leave for workers, and the meaning of their refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from daft_k8s.config.quantities import parse_quantity

_REFUSAL = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.*), used: (?P<used>.*), limited: (?P<limited>.*)"
)
_SCOPES_THAT_HOLD = ("NotTerminating", "NotBestEffort")
"""A worker's Pod has requests and no deadline; Pods of all other scopes are not its like."""
_ONE_EACH = ("pods", "count/pods")


@dataclass(frozen=True)
class Room:
    """The number of workers that the quotas of a namespace leave room for."""

    workers: int
    quota: str
    """The quota that leaves the least."""
    words: str
    """The free amount and the demand of a worker, for people."""
    never: bool = False
    """True if the quota has no room for a single worker, even in an empty namespace."""


@dataclass(frozen=True)
class Refusal:
    """The refusal of a Pod by a quota."""

    quota: str
    words: str
    never: bool
    """True if the Pod alone is larger than the quota."""


def read_refusal(message: str) -> Refusal:
    """Parses the API's message, which has been the same since Kubernetes 1.6; total."""
    match = _REFUSAL.search(message)
    if match is None:
        return Refusal("", message, never=False)
    requested, limited = _amounts(match["requested"]), _amounts(match["limited"])
    never = any(name in limited and amount > limited[name] for name, amount in requested.items())
    words = f"requested: {match['requested']}, used: {match['used']}, limited: {match['limited']}"
    return Refusal(match["quota"].strip(), words, never)


def find_room(quotas: Iterable[Mapping[str, Any]], pod: Mapping[str, Any]) -> Room | None:
    """The workers that fit; None: no quota that can be read limits them.

    Args:
        quotas: The ResourceQuotas of the namespace. Those that select Pods by priority are left to their refusals.
        pod: The Pod of a worker.
    """
    takes = demand(pod)
    least: Room | None = None
    for quota in quotas:
        spec, status = quota.get("spec") or {}, quota.get("status") or {}
        if spec.get("scopeSelector") or any(scope not in _SCOPES_THAT_HOLD for scope in spec.get("scopes") or ()):
            continue
        name = str((quota.get("metadata") or {}).get("name"))
        used = _quantities(status.get("used") or {})
        for resource, hard in _quantities(spec.get("hard") or {}).items():
            need = takes.get(resource, Fraction(0))
            if need <= 0:
                continue
            free = max(Fraction(0), hard - used.get(resource, Fraction(0)))
            room = Room(
                int(free // need),
                name,
                f"{resource}: {_show(free)} of {_show(hard)} are free, a worker takes {_show(need)}",
                never=hard < need,
            )
            if least is None or (room.workers, not room.never) < (least.workers, not least.never):
                least = room
    return least


def demand(pod: Mapping[str, Any]) -> Mapping[str, Fraction]:
    """The demand of a Pod, by a quota's names of resources."""
    spec = pod.get("spec") or {}
    total = dict.fromkeys(_ONE_EACH, Fraction(1))
    for kind in ("requests", "limits"):
        sidecars: dict[str, Fraction] = {}
        starting: dict[str, Fraction] = {}
        for container in spec.get("initContainers") or ():
            takes = _container(container, kind)
            if container.get("restartPolicy") == "Always":  # a native sidecar: from its start on beside all others
                sidecars = _sum(sidecars, takes)
                takes = {}
            for resource, amount in _sum(sidecars, takes).items():  # the others run one after the other
                starting[resource] = max(starting.get(resource, Fraction(0)), amount)
        together = sidecars
        for container in spec.get("containers") or ():
            together = _sum(together, _container(container, kind))
        for resource in {*together, *starting}:
            amount = max(together.get(resource, Fraction(0)), starting.get(resource, Fraction(0)))
            total[f"{kind}.{resource}"] = amount
            if kind == "requests" and resource in ("cpu", "memory", "ephemeral-storage"):
                total[resource] = amount
    return total


def _sum(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {name: one.get(name, Fraction(0)) + other.get(name, Fraction(0)) for name in {*one, *other}}


def _container(container: Mapping[str, Any], kind: str) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    # What has a limit alone is given a request of the same size.
    given = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return _quantities(given if kind == "requests" else resources.get("limits") or {})


def _quantities(given: Mapping[str, Any]) -> dict[str, Fraction]:
    found = {}
    for name, text in given.items():
        try:
            found[name] = parse_quantity(text)
        except ValueError:  # nothing that the API would give
            continue
    return found


def _amounts(text: str) -> dict[str, Fraction]:
    pairs = (item.partition("=") for item in text.split(","))
    return _quantities({name.strip(): amount.strip() for name, _, amount in pairs})


def _show(amount: Fraction) -> str:
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20)):
        if amount >= size and (amount * 100 / size).denominator == 1:
            return f"{float(amount / size):g}{suffix}"
    return f"{float(amount):g}"
