"""The actor of Daft's actor UDFs: a projection whose UDF is initialised once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import daft.pickle
from daft.expressions import ExpressionsProjection
from daft.recordbatch.micropartition import MicroPartition
from daft.udf.udf_v2 import ClsBase

if TYPE_CHECKING:
    from daft.daft import PyMicroPartition


class UdfActor:
    """Runs in the actor's process. Made of a projection, pickled with Daft's pickler."""

    def __init__(self, projection: bytes) -> None:
        with _collect_instances() as instances:
            expressions = daft.pickle.loads(projection)
        self._projection = ExpressionsProjection([expression._initialize_udfs() for expression in expressions])
        # Daft would construct a @daft.cls at its first row only: an error in it, or the minutes that it takes, belong
        # to the start of the actor.
        for instance in instances:
            instance._daft_get_instance()

    def eval_input(self, partition: PyMicroPartition) -> PyMicroPartition:
        """The UDF's column for these rows, in the same batches."""
        rows = MicroPartition._from_pymicropartition(partition)
        return rows.eval_expression_list(self._projection)._micropartition


@contextlib.contextmanager
def _collect_instances() -> Iterator[list[ClsBase[Any]]]:
    """Lists the instances of `@daft.cls` classes that belong to expressions which are unpickled meanwhile.

    The extension unpickles each Python object in an expression by itself, through this function of Daft.
    """
    instances: list[ClsBase[Any]] = []
    loads = daft.pickle.loads

    def collecting_loads(*arguments: Any, **options: Any) -> Any:
        loaded = loads(*arguments, **options)
        if isinstance(loaded, ClsBase):
            instances.append(loaded)
        return loaded

    daft.pickle.loads = collecting_loads
    try:
        yield instances
    finally:
        daft.pickle.loads = loads
