"""What Daft's modules for Ray contain as far as we know them, and what a newer Daft has added.

We put modules of our own in their place. A function that is new there, and that Daft's scheduler calls, would be
missed in the middle of the first query that needs it; so the sources of the modules are looked at before. They are
not imported, because Ray may not be there.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        {"UDFActor", "UDFActorHandle", "get_ready_actors_by_location", "start_udf_actors"}
    ),
    "daft.execution.key_filtering_join.bridge": frozenset({"create_key_filter", "teardown_key_filter"}),
    "daft.subscribers.event_log_sink": frozenset(
        {"EventLogSink", "get_sink_actor_name", "create_or_get_sink", "get_sink", "teardown_sink"}
    ),
}
"""The public functions and classes of each module, in all supported versions up to 0.7.26."""

Definitions = dict[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]


def find_changed_hooks(
    replacements: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, frozenset[str]] = KNOWN_NAMES,
    *,
    source_of: Callable[[str], str | None] | None = None,
    is_called: Callable[[str], bool] | None = None,
) -> list[str]:
    """What the installed Daft calls and our modules cannot answer.

    Args:
        replacements: Our modules' contents.
        known: Names that are known to be needed or not to be.
        source_of: The source of a module of Daft; None where there is none.
        is_called: Whether Daft's scheduler may call a function of this name.

    Returns:
        A text for each: a function that is new, or one that takes more arguments than ours.
    """
    source_of = source_of or _source_of
    is_called = is_called or _is_in_extension
    changed = []
    for module, attributes in replacements.items():
        source = source_of(module)
        if source is None:
            continue  # an older Daft, which does not call what it does not have
        for name, definition in _definitions(source).items():
            ours = attributes.get(name)
            if ours is None:
                if name not in known.get(module, frozenset()) and is_called(name):
                    changed.append(f"{module}.{name} is new")
            elif not isinstance(definition, ast.ClassDef) and not _accepts(ours, definition):
                changed.append(f"{module}.{name} takes other arguments")
    return changed


def _definitions(source: str) -> Definitions:
    return {
        statement.name: statement
        for statement in ast.parse(source).body
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not statement.name.startswith("_")
    }


def _accepts(ours: Any, definition: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether ours can be called, as Daft's Rust does, with all arguments by position."""
    count = len(definition.args.posonlyargs) + len(definition.args.args)
    try:
        inspect.signature(ours).bind(*range(count))
    except TypeError:
        return False
    return True


def _source_of(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_text(encoding="utf-8")


def _is_in_extension(name: str) -> bool:
    """Daft's Rust calls Python by names that stand in its binary as they are."""
    from daft import daft as extension

    with open(str(extension.__file__), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return binary.find(name.encode()) >= 0
