"""The start-up check: has this Daft the private hooks that daft_k8s needs?"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping

from daft_k8s.errors import VersionMismatchError
from daft_k8s.seam.comparison import Difference, Replacements, find_differences
from daft_k8s.seam.newer import find_abstract, is_essential

OLDEST_DAFT = (0, 7, 16)
FIRST_UNKNOWN_DAFT = (0, 8)
SUPPORTED_RANGE = "daft>=0.7.16,<0.8"

_REMEDY = f"install a newer daft_k8s, or another Daft of the supported range {SUPPORTED_RANGE}"

HOOKS: dict[str, tuple[str, ...]] = {
    "daft.daft": (
        "DistributedPhysicalPlan.from_logical_plan_builder",
        "DistributedPhysicalPlan.repr_ascii",
        "DistributedPhysicalPlan.repr_json",
        "DistributedPhysicalPlanRunner.run_plan",
        "FileInfos",
        "FlightPartitionRef",
        "JoinStrategy.Hash",
        "JoinStrategy.SortMerge",
        "LocalPhysicalPlan.from_logical_plan_builder",
        "LocalPhysicalPlan.has_partitioned_output",
        "LogicalPlanBuilder.in_memory_scan",
        "NativeExecutor.cancel_plan",
        "NativeExecutor.run",
        "PyDaftContext._daft_execution_config",
        "PyDaftExecutionConfig.with_config_values",
        "PyDaftExecutionConfig.shuffle_algorithm",
        "PyDaftExecutionConfig.shuffle_aggregation_default_partitions",
        "PyExecutionStats",
        "PyMicroPartition.__arrow_c_schema__",
        "PyMicroPartition.concat",
        "PyMicroPartition.eval_expression_list",
        "PyMicroPartition.from_arrow_stream",
        "PyMicroPartition.from_record_batches",
        "PyMicroPartition.get_record_batches",
        "PyQueryMetadata",
        "PyQueryResult",
        "PyRecordBatch.__arrow_c_array__",
        "PyRecordBatch.empty",
        "PyRecordBatch.from_arrow_record_batches",
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
        "WriteMode.Append",
        "WriteMode.Overwrite",
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
    "daft.exceptions": ("DaftCoreException",),
    "daft.event_loop": ("get_or_init_event_loop", "set_event_loop"),
    "daft.execution.key_filtering_join.actors": (
        "ASYNC_AWAIT_TIMEOUT_SECONDS",
        "KeyFilterActor",
        "KeySpec",
        "PLACEMENT_GROUP_READY_TIMEOUT_SECONDS",
        "_group_row_indices_by_worker",
    ),
    "daft.execution.metadata": ("ExecutionMetadata._from_runner_output",),
    "daft.execution.udf": ("UdfHandle", "subprocess.Popen"),
    "daft.execution.udf_worker": ("udf_event_loop",),
    "daft.execution.vllm": ("LLMActors", "RemoteVLLMExecutor"),
    "daft.expressions": ("Expression._initialize_udfs", "ExpressionsProjection.to_column_expressions"),
    "daft.filesystem": ("glob_path_with_stats",),
    "daft.functions.struct": ("to_struct",),
    "daft.logical.builder": ("LogicalPlanBuilder.join", "LogicalPlanBuilder.limit"),
    "daft.naming": ("generate_query_name",),
    "daft.pickle": ("dumps", "loads"),
    "daft.recordbatch": (
        "MicroPartition._from_pymicropartition",
        "MicroPartition.concat_or_empty",
        "MicroPartition.quantiles",
        "RecordBatch.concat",
        "RecordBatch.eval_expression_list_with_metrics",
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


CALLS: dict[str, int] = {
    "daft.context.DaftContext._notify_exec_end": 2,
    "daft.context.DaftContext._notify_exec_start": 3,
    "daft.context.DaftContext._notify_optimization_end": 3,
    "daft.context.DaftContext._notify_optimization_start": 2,
    "daft.context.DaftContext._notify_query_end": 3,
    "daft.context.DaftContext._notify_query_start": 3,
    "daft.daft.DistributedPhysicalPlan.from_logical_plan_builder": 3,
    "daft.daft.DistributedPhysicalPlan.repr_ascii": 2,
    "daft.daft.DistributedPhysicalPlan.repr_json": 2,
    "daft.daft.DistributedPhysicalPlanRunner.run_plan": 3,
    "daft.daft.FlightPartitionRef": 5,
    "daft.daft.NativeExecutor.cancel_plan": 2,
    "daft.daft.NativeExecutor.run": 7,
    "daft.daft.PyMicroPartition.concat": 1,
    "daft.daft.PyMicroPartition.eval_expression_list": 2,
    "daft.daft.PyMicroPartition.from_arrow_stream": 1,
    "daft.daft.PyMicroPartition.from_record_batches": 1,
    "daft.daft.PyRecordBatch.from_arrow_record_batches": 2,
    "daft.daft.RayPartitionRef": 3,
    "daft.daft.RaySwordfishWorker": 6,
    "daft.daft.RayTaskResult.success_flight": 2,
    "daft.daft.RayTaskResult.success_ray": 2,
    "daft.daft.set_compute_runtime_num_worker_threads": 1,
    "daft.execution.metadata.ExecutionMetadata._from_runner_output": 3,
    "daft.naming.generate_query_name": 0,
    "daft.runners.heartbeat.Heartbeat": 3,
    "daft.runners.progress_bar.get_tqdm": 1,
    "daft.runners.query_id.emit_query_id": 1,
}
"""The number of arguments, `self` included, that the seam or a worker passes by position."""


def check_version(version: str) -> None:
    """Refuses a Daft outside the supported range.

    Raises:
        VersionMismatchError: Naming the version that was found and those that are supported.
    """
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    found = tuple(int(part or 0) for part in match.groups()) if match else ()
    if found >= FIRST_UNKNOWN_DAFT:
        # Before 1.0 Daft changes its interfaces with the second number, and takes out what it had announced.
        raise VersionMismatchError(
            f"daft {version} is installed, which may change what this daft_k8s builds on: it supports "
            f"{SUPPORTED_RANGE}; {_REMEDY}"
        )
    if found < OLDEST_DAFT:
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
        missing += [f"{module_name}.{name}" for name in names if _attribute(module, name) is None]
    return missing


def find_changed_calls(calls: Mapping[str, int] = CALLS) -> list[str]:
    """The names in `calls` that do not take the arguments that daft_k8s passes; one that is missing is none of them."""
    changed = []
    for name, count in calls.items():
        found = _find(name)
        try:
            signature = inspect.signature(found) if callable(found) else None
        except ValueError:  # the extension does not tell
            continue
        try:
            if signature is not None:
                signature.bind(*range(count))
        except TypeError:
            changed.append(f"{name}{signature}")
    return changed


def _find(name: str) -> object | None:
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return _attribute(module, ".".join(parts[length:]))
    return None


def _attribute(holder: object, path: str) -> object | None:
    found: object | None = holder
    for attribute in path.split("."):
        found = getattr(found, attribute, None)
    return found


def check_hooks(version: str, hooks: Mapping[str, tuple[str, ...]] = HOOKS, calls: Mapping[str, int] = CALLS) -> None:
    """Refuses a Daft that lacks what the seam or a worker uses, or takes other arguments for it.

    Raises:
        VersionMismatchError: Naming every hook that is missing or has changed.
    """
    missing = find_missing_hooks(hooks)
    if missing:
        raise VersionMismatchError(f"daft {version} lacks what daft_k8s relies on: {', '.join(missing)}; {_REMEDY}")
    changed = find_changed_calls(calls)
    if changed:
        raise VersionMismatchError(
            f"daft {version} takes other arguments than daft_k8s passes: {', '.join(changed)}; {_REMEDY}"
        )


def check_replacements(version: str, replacements: Replacements, handles: Replacements) -> list[Difference]:
    """Refuses a Daft that no query could run with, because it calls our modules in another way.

    Args:
        version: Daft's.
        replacements: The modules in the place of Daft's, by their names.
        handles: Our classes whose instances Daft holds, by Daft's names for them.

    Returns:
        What else is new or differs, and costs a feature at most.

    Raises:
        VersionMismatchError: Naming every hook that differs and that every query needs.
    """
    differences = [*find_differences(replacements, handles), *find_abstract(handles)]
    essential = [str(difference) for difference in differences if is_essential(difference)]
    if essential:
        raise VersionMismatchError(
            f"daft {version} calls daft_k8s in another way than this version knows: {', '.join(essential)}; {_REMEDY}"
        )
    return differences
