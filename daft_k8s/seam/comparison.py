"""Daft's modules for Ray as far as they are known here, and how those of the installed Daft differ.

Modules of ours stand in their place. A new hook in Daft's would be missed in the middle of the first query that needs
it. So the sources of Daft's modules are compared with ours before. They are not imported: they need Ray.
"""

from __future__ import annotations

import ast
import copy
import enum
import importlib.util
import inspect
import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

KNOWN_NAMES: dict[str, frozenset[str]] = {
    "daft.runners.flotilla": frozenset(
        {
            "SwordfishTaskMetadata",
            "clear_flight_shuffle_dirs_on_all_nodes",
            "RaySwordfishActor",
            "get_boundaries_remote",
            "get_boundaries",
            "RaySwordfishTaskHandle",
            "RaySwordfishActorHandle",
            "start_ray_workers",
            "try_autoscale",
            "clear_autoscaling_requests",
            "RemoteFlotillaRunner",
            "get_flotilla_runner_actor_name",
            "get_head_node_id",
            "FlotillaRunner",
        }
    ),
    "daft.runners.ray_runner": frozenset(
        {
            "RayPartitionSet",
            "RayRunnerIO",
            "get_metas",
            "RayRunner",
            "RayMaterializedResult",
            "PartitionMetadataAccessor",
        }
    ),
    "daft.execution.ray_distributed_limit": frozenset({"LimitCounterHandle", "start_limit_counter_actor"}),
    "daft.execution.ray_actor_pool_udf": frozenset(
        {
            "UDFActor",
            "UDFActorHandle",
            "UDFActorHandle.actor_id",  # called by Daft's own get_ready_actors_by_location alone
            "UDFActorPool.lease_actor_handles",  # called by the pool itself
            "UDFActorPool.start",
            "UDFActorPoolResourceManager",
            "get_ready_actors_by_location",
            "start_udf_actors",
        }
    ),
    "daft.execution.key_filtering_join.bridge": frozenset({"create_key_filter", "teardown_key_filter"}),
    "daft.subscribers.event_log_sink": frozenset(
        {"EventLogSink", "get_sink_actor_name", "create_or_get_sink", "get_sink", "teardown_sink"}
    ),
}
"""Public functions and classes of each module whose use is known: those of all versions up to 0.7.26, and those of
changes to Daft that were proposed by then (a pool of actors that grows)."""


class DifferenceKind(enum.Enum):
    """The way in which a hook of Daft differs from ours."""

    NEW = "is new"
    MORE_ARGUMENTS = "takes more arguments"
    INCOMPATIBLE = "takes other arguments"


class Difference(NamedTuple):
    """A hook that Daft's scheduler may call, and that ours does not answer as Daft's does."""

    module: str
    name: str
    """Of a function or class, or of a method as `Class.method`."""
    kind: DifferenceKind
    detail: str = ""

    def __str__(self) -> str:
        told = f"{self.module}.{self.name} {self.kind.value}"
        return f"{told} ({self.detail})" if self.detail else told


Replacements = Mapping[str, Mapping[str, Any]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_differences(
    replacements: Replacements,
    handles: Replacements | None = None,
    known: Mapping[str, frozenset[str]] = KNOWN_NAMES,
    *,
    source_of: Callable[[str], str | None] | None = None,
    is_called: Callable[[str], bool] | None = None,
) -> list[Difference]:
    """Compares the installed Daft's modules with ours.

    Args:
        replacements: The contents of our modules, by the modules' names.
        handles: Our classes whose instances Daft's scheduler holds, by Daft's names for them.
        known: Names that are known to be needed or not to be.
        source_of: The source of a module of Daft; None where there is none.
        is_called: True if Daft's scheduler may call a function of this name.
    """
    source_of = source_of or _source_of
    is_called = is_called or _is_in_extension
    handles = handles or {}
    found = []
    for module, attributes in replacements.items():
        source = source_of(module)
        if source is None:
            continue  # an older Daft, which does not call what it does not have
        known_here = known.get(module, frozenset())
        for name, definition, ours in _pairs(source, attributes, handles.get(module, {})):
            kind, detail = _compare(definition, ours)
            is_known = kind is None or (kind is DifferenceKind.NEW and name in known_here)
            if kind is not None and not is_known and is_called(name.rpartition(".")[2]):
                found.append(Difference(module, name, kind, detail))
    return found


def _pairs(
    source: str, attributes: Mapping[str, Any], handles: Mapping[str, Any]
) -> Iterator[tuple[str, Function | None, Any]]:
    """Daft's names, how Daft defines each (None: nothing to compare), and what stands for it here."""
    for statement in ast.parse(source).body:
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        name = statement.name
        if name.startswith("_"):
            continue
        if not isinstance(statement, ast.ClassDef):
            yield name, statement, attributes.get(name)
            continue
        methods = {each.name: each for each in statement.body if isinstance(each, Function)}
        ours = attributes.get(name)
        # A function in the place of a class is called as the class is.
        constructor = methods.get("__init__") if inspect.isfunction(ours) else None
        yield name, constructor and _without_self(constructor), ours or handles.get(name)
        handle = handles.get(name)
        if handle is not None:
            for method, definition in methods.items():
                if not method.startswith("_"):
                    is_static = any(ast.unparse(each) == "staticmethod" for each in definition.decorator_list)
                    ours = inspect.getattr_static(handle, method, None)
                    yield f"{name}.{method}", None if is_static else definition, ours


def _without_self(definition: Function) -> Function:
    bare = copy.copy(definition)
    bare.args = copy.copy(definition.args)
    bare.args.args = definition.args.args[1:]
    return bare


def _compare(definition: Function | None, ours: Any) -> tuple[DifferenceKind | None, str]:
    """Compares the parameters by their order and names: a call with all arguments by position must mean the same."""
    if ours is None:
        return DifferenceKind.NEW, ""
    if definition is None or not callable(ours):
        return None, ""
    if isinstance(definition, ast.AsyncFunctionDef) != inspect.iscoroutinefunction(ours):
        return DifferenceKind.INCOMPATIBLE, "coroutine or not"
    signature = inspect.signature(ours)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in signature.parameters.values()):
        return None, ""
    theirs = [*definition.args.posonlyargs, *definition.args.args]
    required = len(theirs) - len(definition.args.defaults)
    expected = [name for name, parameter in signature.parameters.items() if parameter.kind in _BY_POSITION]
    shared = expected[: len(theirs)]
    if [each.arg for each in theirs[: len(shared)]] != shared:
        return DifferenceKind.INCOMPATIBLE, ", ".join(each.arg for each in theirs)
    try:
        signature.bind(*range(len(shared)))
    except TypeError:
        return DifferenceKind.INCOMPATIBLE, ", ".join(each.arg for each in theirs)
    new = [each.arg for each in theirs[len(shared) :]]
    named = [
        (each.arg, default)
        for each, default in zip(definition.args.kwonlyargs, definition.args.kw_defaults, strict=True)
        if each.arg not in signature.parameters
    ]
    if required > len(shared) or any(default is None for _, default in named):
        return DifferenceKind.INCOMPATIBLE, ", ".join([*new, *(name for name, _ in named)])
    new += [name for name, _ in named]
    return (DifferenceKind.MORE_ARGUMENTS, ", ".join(new)) if new else (None, "")


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _source_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_text(encoding="utf-8")


def _is_in_extension(name: str) -> bool:
    """True if Daft's Rust contains a name, by which it calls Python: names stand in its binary as they are."""
    from daft import daft as extension

    with open(str(extension.__file__), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return binary.find(name.encode()) >= 0
