"""The rights that a driver needs in its workers' namespace: the one list for errors, documents, chart and command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft_k8s.config import Configuration


@dataclass(frozen=True)
class Right:
    """What may be done with one kind of object."""

    group: str
    """The API group; "" is Kubernetes' core."""
    resource: str
    verbs: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Verbs without which it works too, if less well."""


@dataclass(frozen=True)
class Missing:
    """One verb that was not given."""

    group: str
    resource: str
    verb: str
    optional: bool

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


_ALWAYS = (
    Right("", "pods", ("create", "get", "list", "watch", "delete", "deletecollection"), ("deletecollection",)),
    Right("", "secrets", ("create", "delete")),
    Right("", "resourcequotas", ("list",), ("list",)),
)
_STATEFUL_SET = (
    Right("", "services", ("create", "delete")),
    Right("apps", "statefulsets", ("create", "patch", "delete")),
)


def rights(configuration: Configuration | None = None) -> tuple[Right, ...]:
    """All rights that a driver with this configuration uses.

    Args:
        configuration: None: one with bare Pods.
    """
    if configuration is not None and configuration.allocation == "statefulset":
        return _ALWAYS + _STATEFUL_SET
    return _ALWAYS


def role_rules(configuration: Configuration | None = None) -> list[dict[str, Any]]:
    """The `rules` of a Role that gives a driver all its rights, the optional ones included.

    Args:
        configuration: None: one with bare Pods.
    """
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        for right in rights(configuration)
    ]


def role_rules_text(configuration: Configuration | None = None) -> str:
    """The same as YAML, for people.

    Args:
        configuration: None: one with bare Pods.
    """
    lines = ["rules:"]
    for right in rights(configuration):
        verbs = ", ".join(f'"{verb}"' for verb in right.verbs)
        lines += [f'- apiGroups: ["{right.group}"]', f'  resources: ["{right.resource}"]', f"  verbs: [{verbs}]"]
    return "\n".join(lines)


def questions(configuration: Configuration | None = None) -> Iterator[Missing]:
    """Every single right, as what it would be if it were missing.

    Args:
        configuration: None: one with bare Pods.
    """
    for right in rights(configuration):
        for verb in right.verbs:
            yield Missing(right.group, right.resource, verb, verb in right.optional)


def explain_missing(missing: Iterable[Missing], namespace: str, configuration: Configuration | None = None) -> str:
    """The error about rights that were not given.

    Args:
        missing: Which.
        namespace: Where.
        configuration: None: one with bare Pods.
    """
    named = ", ".join(map(str, missing))
    return (
        f"the driver's service account may not {named} in the namespace {namespace!r}. It needs a Role with\n"
        f"{role_rules_text(configuration)}"
    )
