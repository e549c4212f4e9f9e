"""The rights that a driver needs in its workers' namespace: the one list for errors, documents, chart and command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

ACCOUNT = "daft-driver"
"""The service account of drivers, unless another is named."""


@dataclass(frozen=True)
class Right:
    """The verbs that a driver needs on one kind of object."""

    group: str
    """The API group; "" is Kubernetes' core."""
    resource: str
    verbs: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Verbs that a driver can do without, if less well."""


@dataclass(frozen=True)
class Missing:
    """A verb that was not granted."""

    group: str
    resource: str
    verb: str
    optional: bool

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


_LEASE_VERBS = ("create", "list", "patch", "delete")
_ALWAYS = (
    Right("", "pods", ("create", "get", "list", "watch", "delete", "deletecollection"), ("deletecollection",)),
    # Without "delete", which holds for every Secret of the namespace, the cluster removes the session's with its owner.
    Right("", "secrets", ("create", "delete"), ("delete",)),
    Right("", "resourcequotas", ("list",), ("list",)),
    Right("", "events", ("list",), ("list",)),
    Right("coordination.k8s.io", "leases", _LEASE_VERBS, _LEASE_VERBS),
)
_OUTSIDE = (
    # Websockets begin with a GET: Kubernetes asks for "get" up to 1.34, and for "create" after.
    Right("", "pods/portforward", ("get", "create"), ("create",)),
)
_STATEFUL_SET = (
    Right("", "services", ("create", "delete")),
    Right("apps", "statefulsets", ("create", "patch", "delete")),
)


def rights(configuration: Configuration | None = None, *, outside: bool = False) -> tuple[Right, ...]:
    """All rights that a driver with this configuration uses.

    Args:
        configuration: None: one with bare Pods.
        outside: True if the driver runs outside the cluster.
    """
    stateful = configuration is not None and configuration.allocation == "statefulset"
    return _ALWAYS + (_OUTSIDE if outside else ()) + (_STATEFUL_SET if stateful else ())


def role_rules(configuration: Configuration | None = None, *, outside: bool = False) -> list[dict[str, Any]]:
    """The `rules` of a Role that gives a driver all its rights, the optional ones included.

    Args:
        configuration: None: one with bare Pods.
        outside: True if the driver runs outside the cluster.
    """
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        for right in rights(configuration, outside=outside)
    ]


def driver_account(
    configuration: Configuration, *, name: str = ACCOUNT, namespace: str | None, outside: bool = False
) -> list[dict[str, Any]]:
    """The ServiceAccount, Role and RoleBinding of drivers.

    Args:
        configuration: The configuration of the workers.
        name: The name of all three.
        namespace: Their namespace; None: that of the context in which they are applied.
        outside: True if the driver runs outside the cluster.
    """
    group = "rbac.authorization.k8s.io"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    subject = {"kind": "ServiceAccount", "name": name, **({"namespace": namespace} if namespace else {})}
    rules = role_rules(configuration, outside=outside)
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    ]


def role_rules_text(configuration: Configuration | None = None, *, outside: bool = False) -> str:
    """The same as YAML, for people.

    Args:
        configuration: None: one with bare Pods.
        outside: True if the driver runs outside the cluster.
    """
    lines = ["rules:"]
    for right in rights(configuration, outside=outside):
        verbs = ", ".join(f'"{verb}"' for verb in right.verbs)
        lines += [f'- apiGroups: ["{right.group}"]', f'  resources: ["{right.resource}"]', f"  verbs: [{verbs}]"]
    return "\n".join(lines)


def questions(configuration: Configuration | None = None, *, outside: bool = False) -> Iterator[Missing]:
    """Every single right, as what it would be if it were missing.

    Args:
        configuration: None: one with bare Pods.
        outside: True if the driver runs outside the cluster.
    """
    for right in rights(configuration, outside=outside):
        for verb in right.verbs:
            yield Missing(right.group, right.resource, verb, verb in right.optional)


def explain_missing(
    missing: Iterable[Missing], namespace: str, configuration: Configuration | None = None, *, outside: bool = False
) -> str:
    """The error about rights that were not given.

    Args:
        missing: The missing rights.
        namespace: The namespace.
        configuration: None: one with bare Pods.
        outside: True if the driver runs outside the cluster.
    """
    named = ", ".join(map(str, missing))
    who = "the kubeconfig's user" if outside else "the driver's service account"
    return (
        f"{who} may not {named} in the namespace {namespace!r}. It needs a Role with\n"
        f"{role_rules_text(configuration, outside=outside)}"
    )
