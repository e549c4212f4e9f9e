"""The determinism of tasks: by it the pool decides if lost outputs of a task may be recomputed.

Every task runs with `maintain_order=False`, so an operator whose output depends on the order of its rows gives other
rows when it runs again. What is not known here is taken for the worst.
"""

from __future__ import annotations

import enum
import re

from daft_k8s.seam.plan_paths import unbroken

_OPERATOR = re.compile(r"\w+")


class Determinism(str, enum.Enum):
    """The relation of the outputs of two runs of a task; the values are those of the core."""

    DETERMINISTIC = "deterministic"
    """Each output has the same rows, in any order."""
    DETERMINISTIC_WHOLE = "deterministic_whole"
    """All outputs together have the same rows: a worker cuts large ones in the order in which rows come."""
    ORDER_DEPENDENT = "order_dependent"
    """The rows of an output may depend on the order of the rows that are read, on chance, or on the user's code.
    Another run counts only if the fingerprints of its outputs are those of the first."""
    UNREPEATABLE = "unrepeatable"
    """The task has effects, or needs what ends with its query."""


DETERMINISTIC_OPERATORS = frozenset(
    {
        "Concat",
        "CrossJoin",
        "Explode",
        "Filter",
        "HashAggregate",
        "HashJoin",
        "InMemoryScan",
        "PhysicalScan",
        "Pivot",
        "PlaceholderScan",
        "Project",
        "RepartitionWrite",
        "ShuffleRead",
        "Sort",
        "SortMergeJoin",
        "UnGroupedAggregate",
        "Unpivot",
        "WindowPartitionOnly",
    }
)
"""Daft's operators whose outputs have the same rows whenever they run, unless an expression in them has not."""

ORDER_DEPENDENT_OPERATORS = frozenset(
    {
        "AsofJoin",  # of ties, any
        "Dedup",  # of rows with equal keys, any
        "GatherWrite",  # an output for each morsel
        "IntoBatches",
        "IntoPartitions",
        "Limit",
        "MonotonicallyIncreasingId",
        "Sample",
        "TopN",  # of ties at the cut, any
        "UDFProject",  # the user's code may do anything
        "WindowOrderByOnly",  # of ties, any comes first
        "WindowPartitionAndDynamicFrame",
        "WindowPartitionAndOrderBy",
    }
)
"""Operators whose outputs depend on the order of their rows, on chance or on the user's code."""

_PARTITIONING_OPERATOR = "RepartitionWrite"
"""As a task's last operator, it decides by a row's values which output the row is in."""

_CHANCE = (
    *("rand", "uuid", "current_", "shuffle", "now", "today"),  # chance and clocks
    *("any_value", "list", "set", "concat", "string_agg"),  # aggregations that depend on the order of rows
    *("first", "last", "approx", "sketch"),
    *("row_number", "ntile", "lag", "lead"),  # window functions that tell ties apart
    *("py_udf", "map_groups"),  # the user's code, where the plan does not show it by itself
    *("url_", "download", "prompt", "embed", "classify"),  # the world
)
"""Parts of names of expressions whose values may differ between two runs. Deterministic expressions with such a name
are taken for the same."""
_CALL = re.compile(r"\b\w+(?=\(|\.window)")
_DATA_TYPES = frozenset({"Embedding", "FixedSizeList", "List"})
"""Data types that a schema in the plan's text writes like calls. Daft writes its expressions in lower case."""
_USERS_CODE = (b"daft.udf", b"cloudpickle")
"""Modules that a pickled plan names where one of its expressions, in whatever place, calls the user's code."""

# Without blanks: Daft breaks the lines of a plan to the width of the terminal, within a word if need be.
_SCAN = "ScanTaskSource:"
_SCAN_TASKS = "ScanTasks:["
_RANDOM_SHUFFLES = ("Shuffle:Random", "RandomShuffle")


class QueryDeterminism:
    """Says what a query's plan tells about the determinism of its tasks.

    Args:
        plan_text: The plan as Daft prints it in `repr_ascii`.
        uses_flight: Shuffles go through Daft's own servers, whose files are lost with their worker.
    """

    def __init__(self, plan_text: str, *, uses_flight: bool) -> None:
        self._uses_flight = uses_flight
        text = unbroken(plan_text)
        calls = {*_CALL.findall(plan_text), *_CALL.findall(text)} - _DATA_TYPES
        self._depends_on_chance = any(part in call.lower() for call in calls for part in _CHANCE)
        shuffles_randomly = any(name in text for name in _RANDOM_SHUFFLES)
        self._order_dependent = set(ORDER_DEPENDENT_OPERATORS)
        if shuffles_randomly:
            # The rows' places decide where they go. Names of tasks do not tell one shuffle from another.
            self._order_dependent.add("RepartitionWrite")
        if not _reads_files_only(text):
            self._order_dependent.add("PhysicalScan")

    def of_task(self, name: str, plan: bytes) -> Determinism:
        """The determinism of a task.

        Args:
            name: The task's operators, as Daft names them ("PhysicalScan->Project").
            plan: The task's pickled plan.
        """
        in_order = _OPERATOR.findall(name)
        operators = set(in_order)
        if self._uses_flight or not operators or not operators <= DETERMINISTIC_OPERATORS | ORDER_DEPENDENT_OPERATORS:
            return Determinism.UNREPEATABLE
        if self._depends_on_chance or operators & self._order_dependent or any(part in plan for part in _USERS_CODE):
            return Determinism.ORDER_DEPENDENT
        return Determinism.DETERMINISTIC if in_order[-1] == _PARTITIONING_OPERATOR else Determinism.DETERMINISTIC_WHOLE


def _reads_files_only(unbroken: str) -> bool:
    """True if every scan is of files, which are the same when they are read again."""
    _, *scans = unbroken.split(_SCAN_TASKS)
    is_known = unbroken.count(_SCAN) == len(scans)
    return is_known and all(scan.startswith(("{File{", "]")) for scan in scans)


UNKNOWN = QueryDeterminism("", uses_flight=True)
"""Of a query whose plan is not known: none of its tasks is run again for its outputs."""
