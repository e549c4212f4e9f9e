"""The process of a UDF with `use_process=True`: Daft's own program, started with its own arguments.

Daft's program reports only subclasses of Exception that can be pickled. On any other it ends, and the query learns only
that it has. After a coroutine that raises SystemExit, its event loop is gone and the query waits for ever.
"""

from __future__ import annotations

import functools
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

from daft_k8s.boot import start
from daft_k8s.wire.pickled_errors import portable
from daft_k8s.wire.raised import add_note, ordinary, text_of
from daft_k8s.worker.daft_variables import daft_variables
from daft_k8s.worker.event_loop import start_in_background
from daft_k8s.worker.row_errors import lines_of_rows, remember_row_errors

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

DAFTS_PROGRAM = "daft.execution.udf_worker"


def start_from_here(on_output: Callable[[bytes], None] | None = None) -> None:
    """Has Daft start its UDF processes with this module. In a worker, before the first one is started.

    They import from where the worker does: `python -m`, as Daft starts them, would not find the driver's modules.

    Args:
        on_output: Takes the lines that a UDF printed for a batch. Daft's engine prints them, past `sys.stdout`.
    """
    from daft.execution import udf

    if on_output is not None:
        udf.UdfHandle.eval_input = _heard(udf.UdfHandle.eval_input, on_output)  # type: ignore[method-assign]

    def popen(command: list[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
        if command[1:3] == ["-m", DAFTS_PROGRAM]:
            command, env = start.command(__name__, *command[3:]), {**env, **start.variables(sys.path)}
        process: subprocess.Popen[bytes] = subprocess.Popen(command, env=env, **options)
        return process

    vars(udf)["subprocess"] = SimpleNamespace(**{**vars(subprocess), "Popen": popen})


def _heard(
    function: Callable[P, tuple[T, list[str], U]], on_output: Callable[[bytes], None]
) -> Callable[P, tuple[T, list[str], U]]:
    """Returns the function such that the lines that it returns are heard."""

    @functools.wraps(function)
    def heard(*arguments: P.args, **options: P.kwargs) -> tuple[T, list[str], U]:
        answer = function(*arguments, **options)
        on_output("".join(f"{line}\n" for line in answer[1]).encode(errors="replace"))
        return answer

    return heard


def main() -> None:
    """Runs Daft's program."""
    with daft_variables(os.environ):
        import daft
        from daft.event_loop import set_event_loop
        from daft.expressions import Expression
        from daft.recordbatch import RecordBatch

        daft.set_runner_native()
    remember_row_errors()
    set_event_loop(start_in_background("async UDFs"))
    # The two calls in which it runs users' code, constructors and functions.
    Expression._initialize_udfs = _reported(Expression._initialize_udfs)  # type: ignore[method-assign]
    RecordBatch.eval_expression_list_with_metrics = _reported(  # type: ignore[method-assign]
        RecordBatch.eval_expression_list_with_metrics
    )
    runpy.run_module(DAFTS_PROGRAM, run_name="__main__", alter_sys=True)


def _reported(function: Callable[P, T]) -> Callable[P, T]:
    """Returns the function such that Daft's program can report what it raises."""
    from daft.errors import UDFException

    @functools.wraps(function)
    def reported(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except UDFException as error:
            error.__cause__ = None if error.__cause__ is None else portable(error.__cause__)
            raise
        except BaseException as error:
            raised = ordinary(error)
            lines = lines_of_rows(text_of(error))
            if lines:
                add_note(raised, lines)
        raise raised

    return reported


if __name__ == "__main__":
    main()
