"""Lines at which UDFs fail that Daft calls row by row: of their exceptions, Daft keeps the type and the text alone."""

from __future__ import annotations

import contextlib
import functools
import importlib
import linecache
import os
import re
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from daft_k8s.wire.raised import text_of, type_name

P = ParamSpec("P")
T = TypeVar("T")
Frame = tuple[str, int, str]
"""File, line and function."""

_MOST_KEPT = 16
_MOST_FRAMES = 20
_OF_A_ROW = re.compile(r"DaftError::PyO3Error (.*)")

_HEAD = "the UDF failed here:\n"

_failures: dict[str, list[Frame]] = {}


def remember_row_errors() -> None:
    """Has Daft remember where UDFs failed. Daft's Rust looks the function up whenever it calls a UDF."""
    # A Daft without it runs queries all the same, so it is none of the hooks that are checked.
    with contextlib.suppress(ImportError, AttributeError):
        execution = importlib.import_module("daft.udf.execution")
        vars(execution)["call_func"] = _remembering(execution.call_func)


def lines_of_rows(text: str) -> str:
    """Returns the frames of the first failed row that Daft's error names; "" if there are none, or it tells them."""
    if _HEAD in text:
        return ""  # by the UDF's own process
    for row in _OF_A_ROW.finditer(text):
        frames = _failures.get(row[1])
        if frames:
            lines = [_describe_frame(*frame) for frame in frames]
            return _HEAD + "".join(lines)
    return ""


def _remembering(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def remembering(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            _remember(error, error.__traceback__)
            raise

    return remembering


def _remember(error: BaseException, traceback: TracebackType | None) -> None:
    """Keeps names and numbers: frames would keep the data alive. Cheap, as all rows may fail (`on_error="ignore"`)."""
    frames: list[Frame] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if frames or not code.co_filename.startswith(_not_the_users()):
            frames.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    text = f"{type_name(error)}: {text_of(error)}".partition("\n")[0]
    _failures.pop(text, None)
    _failures[text] = frames[-_MOST_FRAMES:]
    while len(_failures) > _MOST_KEPT:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread removes one, too
            del _failures[next(iter(_failures))]


@functools.cache
def _not_the_users() -> tuple[str, ...]:
    """Paths of what stands above a user's function."""
    import daft

    return (os.path.dirname(daft.__file__) + os.sep, __file__)


def _describe_frame(file: str, line: int, function: str) -> str:
    source = linecache.getline(file, line).strip()
    return f'  File "{file}", line {line}, in {function}\n' + (f"    {source}\n" if source else "")
