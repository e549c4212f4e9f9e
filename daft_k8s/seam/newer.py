"""A Daft that is newer than daft_k8s: its new hooks are refused by name when they are used, and all else works."""

from __future__ import annotations

import abc
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from daft_k8s.errors import UnsupportedError
from daft_k8s.seam.comparison import Difference, DifferenceKind, Replacements

FEATURES = {
    "daft.runners.flotilla": "the scheduling of tasks on workers",
    "daft.runners.ray_runner": "conversions and collected results",
    "daft.execution.ray_distributed_limit": "limit() and offset()",
    "daft.execution.ray_actor_pool_udf": "UDFs with actors (max_concurrency, with_concurrency)",
    "daft.execution.key_filtering_join.bridge": "skip_existing() and checkpoint=",
    "daft.subscribers.event_log_sink": "the event log that collects from workers",
}
"""The part of Daft that each module serves."""

_FEATURES_OF_HOOKS = {
    "daft.runners.flotilla.get_boundaries": "sort() and sort-merge joins",
    "daft.runners.flotilla.clear_flight_shuffle_dirs_on_all_nodes": 'shuffle_algorithm="flight_shuffle"',
}

ESSENTIAL = frozenset(
    {
        "daft.runners.flotilla.RaySwordfishActorHandle.submit_task",
        "daft.runners.flotilla.RaySwordfishTaskHandle.cancel",
        "daft.runners.flotilla.RaySwordfishTaskHandle.get_result",
        "daft.runners.flotilla.clear_autoscaling_requests",
        "daft.runners.flotilla.get_head_node_id",
        "daft.runners.flotilla.start_ray_workers",
        "daft.runners.flotilla.try_autoscale",
        "daft.runners.ray_runner.RayRunner",
        "daft.runners.ray_runner.RayRunner.put_partition_set_into_cache",
        "daft.runners.ray_runner.RayRunner.run_iter",
        "daft.runners.ray_runner.RayRunner.run_iter_tables",
    }
)
"""Hooks without which no query runs."""

REMEDY = "install a newer daft_k8s, or an older Daft of the supported range"


class UnknownHookError(UnsupportedError, AttributeError):
    """A name that our module in the place of Daft's does not have. `hasattr` and `getattr` take it as missing."""


def feature_of(module: str, name: str) -> str:
    """The part of Daft that a hook serves, in words."""
    return _FEATURES_OF_HOOKS.get(f"{module}.{name}", FEATURES.get(module, "distributed queries"))


def is_essential(difference: Difference) -> bool:
    """True if no query could run: the hook is needed by all, and ours does not answer Daft's calls."""
    return difference.kind is DifferenceKind.INCOMPATIBLE and f"{difference.module}.{difference.name}" in ESSENTIAL


def find_abstract(handles: Replacements) -> list[Difference]:
    """Abstract methods that our classes lack: Python would not make one instance of them."""
    return [
        Difference(module, f"{name}.{method}", DifferenceKind.NEW)
        for module, classes in handles.items()
        for name, ours in classes.items()
        for method in sorted(getattr(ours, "__abstractmethods__", ()))
    ]


def adapt(replacements: Replacements, handles: Replacements, differences: Iterable[Difference], version: str) -> Any:
    """Makes our modules and classes answer the hooks that differ.

    A new hook, or one whose arguments mean something else, raises UnsupportedError when Daft calls it. Arguments that
    are new are dropped. Classes are changed in place.

    Returns:
        The contents of our modules, by the modules' names.
    """
    adapted = {module: dict(attributes) for module, attributes in replacements.items()}
    for difference in differences:
        module, (owner, _, method) = difference.module, difference.name.partition(".")
        if method:
            handle = handles[module][owner]
            setattr(handle, method, _answer(difference, inspect.getattr_static(handle, method, None), version))
            abc.update_abstractmethods(handle)
        else:
            adapted[module][owner] = _answer(difference, adapted[module].get(owner), version)
    for module, attributes in adapted.items():
        attributes["__getattr__"] = functools.partial(_refuse_unknown, module, version)
    return adapted


def describe(differences: Iterable[Difference], version: str) -> str:
    """One line for the log; what differs, and what follows."""
    dropped = [str(each) for each in differences if each.kind is DifferenceKind.MORE_ARGUMENTS]
    refused = [
        f"{difference} (for {feature_of(difference.module, difference.name)})"
        for difference in differences
        if difference.kind is not DifferenceKind.MORE_ARGUMENTS
    ]
    told = []
    if refused:
        told.append(f"refused where a query uses them: {'; '.join(refused)}")
    if dropped:
        told.append(f"the new arguments are ignored: {'; '.join(dropped)}")
    return (
        f"daft {version} has hooks that this daft_k8s does not know. Everything else works as before; "
        f"{'; '.join(told)}. To be rid of this, {REMEDY}"
    )


def _answer(difference: Difference, ours: Any, version: str) -> Callable[..., Any]:
    if difference.kind is DifferenceKind.MORE_ARGUMENTS:
        return _ignoring_new_arguments(ours)
    module, name = difference.module, difference.name

    def refuse_hook(*_arguments: Any, **_options: Any) -> NoReturn:
        raise UnsupportedError(
            f"daft {version} calls {module}.{name}, which {difference.kind.value} and is not supported by this "
            f"daft_k8s; it is needed for {feature_of(module, name)}: {REMEDY}"
        )

    return refuse_hook


def _ignoring_new_arguments(ours: Callable[..., Any]) -> Callable[..., Any]:
    parameters = inspect.signature(ours).parameters
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(parameter.kind in positional for parameter in parameters.values())

    @functools.wraps(ours)
    def call(*arguments: Any, **options: Any) -> Any:
        return ours(*arguments[:count], **{name: value for name, value in options.items() if name in parameters})

    return call


def _refuse_unknown(module: str, version: str, name: str) -> NoReturn:
    if name.startswith("__"):  # Python itself asks for these, e.g. for __path__
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    raise UnknownHookError(
        f"{module}.{name} of daft {version} has no place in daft_k8s, which stands there instead of Ray; if "
        f"{feature_of(module, name)} needs it: {REMEDY}"
    )
