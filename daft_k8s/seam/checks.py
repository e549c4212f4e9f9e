"""The start-up check: is this a Daft whose private hooks we know?"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

from daft_k8s.errors import VersionMismatchError
from daft_k8s.seam.replaced import find_changed_hooks

OLDEST_DAFT = (0, 7, 16)
FIRST_UNKNOWN_DAFT = (0, 8)
SUPPORTED_RANGE = "daft>=0.7.16,<0.8"

_REMEDY = f"install another Daft of the supported range {SUPPORTED_RANGE}, or a newer daft_k8s"

HOOKS: dict[str, tuple[str, ...]] = {
    "daft.daft": (
        "DistributedPhysicalPlan.from_logical_plan_builder",
        "DistributedPhysicalPlan.repr_ascii",
        "DistributedPhysicalPlan.repr_json",
        "DistributedPhysicalPlanRunner.run_plan",
        "FileInfos",
        "FlightPartitionRef",
        "LocalPhysicalPlan.has_partitioned_output",
        "NativeExecutor.cancel_plan",
        "NativeExecutor.run",
        "PyDaftContext._daft_execution_config",
        "PyDaftExecutionConfig.with_config_values",
        "PyDaftExecutionConfig.shuffle_algorithm",
        "PyDaftExecutionConfig.shuffle_aggregation_default_partitions",
        "PyExecutionStats",
        "PyMicroPartition.__arrow_c_stream__",
        "PyMicroPartition.concat",
        "PyMicroPartition.eval_expression_list",
        "PyMicroPartition.from_arrow_stream",
        "PyMicroPartition.from_record_batches",
        "PyMicroPartition.get_record_batches",
        "PyQueryMetadata",
        "PyQueryResult",
        "PyRecordBatch.empty",
        "PyRecordBatch.from_pyseries_list",
        "QueryEndState.Canceled",
        "QueryEndState.Failed",
        "QueryEndState.Finished",
        "RayPartitionRef",
        "RaySwordfishTask.config",
        "RaySwordfishTask.context",
        "RaySwordfishTask.id",
        "RaySwordfishTask.inputs",
        "RaySwordfishTask.name",
        "RaySwordfishTask.plan",
        "RaySwordfishTask.psets",
        "RaySwordfishWorker",
        "RayTaskResult.success_flight",
        "RayTaskResult.success_ray",
        "get_runner",
        "set_compute_runtime_num_worker_threads",
        "set_runner_ray",
    ),
    "daft.context": (
        "DaftContext._notify_exec_end",
        "DaftContext._notify_exec_start",
        "DaftContext._notify_optimization_end",
        "DaftContext._notify_optimization_start",
        "DaftContext._notify_query_end",
        "DaftContext._notify_query_start",
        "get_context",
    ),
    "daft": ("load_extension",),
    "daft.ai.typing": ("UDFOptions",),
    "daft.ai.utils": ("get_gpu_udf_options",),
    "daft.datatype": ("DataType.python",),
    "daft.dependencies": ("np", "pa"),
    "daft.errors": ("UDFException",),
    "daft.event_loop": ("get_or_init_event_loop", "set_event_loop"),
    "daft.execution.key_filtering_join.actors": (
        "ASYNC_AWAIT_TIMEOUT_SECONDS",
        "KeyFilterActor",
        "KeySpec",
        "PLACEMENT_GROUP_READY_TIMEOUT_SECONDS",
        "_group_row_indices_by_worker",
    ),
    "daft.execution.metadata": ("ExecutionMetadata._from_runner_output",),
    "daft.execution.vllm": ("LLMActors", "RemoteVLLMExecutor"),
    "daft.expressions": ("Expression", "ExpressionsProjection.to_column_expressions"),
    "daft.filesystem": ("glob_path_with_stats",),
    "daft.functions.struct": ("to_struct",),
    "daft.logical.builder": ("LogicalPlanBuilder.limit",),
    "daft.naming": ("generate_query_name",),
    "daft.pickle": ("dumps", "loads"),
    "daft.recordbatch": (
        "MicroPartition._from_pymicropartition",
        "MicroPartition.concat_or_empty",
        "MicroPartition.quantiles",
        "RecordBatch.concat",
    ),
    "daft.udf": ("func",),
    "daft.udf.udf_v2": ("ClsBase._daft_get_instance",),
    "daft.runners.heartbeat": ("Heartbeat.start", "Heartbeat.stop"),
    "daft.runners.native_runner": ("NativeRunner.run_iter",),
    "daft.runners.partitioning": (
        "LocalPartitionSet",
        "MaterializedResult",
        "PartitionCacheEntry",
        "PartitionMetadata",
        "PartitionSet",
        "PartitionSetCache.get_all_partition_sets",
        "PartitionSetCache.put_partition_set",
    ),
    "daft.runners.progress_bar": ("ProgressBar", "get_tqdm"),
    "daft.runners.query_id": ("emit_query_id",),
    "daft.runners.runner": ("Runner",),
    "daft.runners.runner_io": ("RunnerIO",),
    "daft.series": ("Series.from_pylist",),
}
"""Every name of Daft outside its public interface that the seam or a worker uses, by module."""


def check_version(version: str) -> None:
    """Refuses a Daft outside the supported range.

    Raises:
        VersionMismatchError: Naming the version that was found and those that are supported.
    """
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    found = tuple(int(part or 0) for part in match.groups()) if match else ()
    if not found or found < OLDEST_DAFT or found >= FIRST_UNKNOWN_DAFT:
        raise VersionMismatchError(
            f"daft {version} is installed, but daft_k8s supports {SUPPORTED_RANGE}; install a Daft of that range"
        )


def find_missing_hooks(hooks: Mapping[str, tuple[str, ...]] = HOOKS) -> list[str]:
    """The names in `hooks` that the installed Daft lacks."""
    missing = []
    for module_name, names in hooks.items():
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            missing.append(module_name)
            continue
        for name in names:
            found: object | None = module
            for attribute in name.split("."):
                found = getattr(found, attribute, None)
            if found is None:
                missing.append(f"{module_name}.{name}")
    return missing


def check_hooks(version: str, hooks: Mapping[str, tuple[str, ...]] = HOOKS) -> None:
    """Refuses a Daft that lacks what the seam or a worker uses.

    Raises:
        VersionMismatchError: Naming every hook that is missing.
    """
    missing = find_missing_hooks(hooks)
    if missing:
        raise VersionMismatchError(f"daft {version} lacks what daft_k8s relies on: {', '.join(missing)}; {_REMEDY}")


def check_replacements(version: str, replacements: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a Daft that would call what our modules do not have.

    Args:
        version: Daft's.
        replacements: What will stand in the place of Daft's modules, by their names.

    Raises:
        VersionMismatchError: Naming every hook that is new or has changed.
    """
    changed = find_changed_hooks(replacements)
    if changed:
        raise VersionMismatchError(
            f"daft {version} has hooks that daft_k8s does not know: {', '.join(changed)}; {_REMEDY}"
        )
