"""Watches a driver of the tests for unpickling what came from a worker. Python imports it by its name, before all else.

Each class that is named in a pickle is an event. It is noted in a file, which must stay empty, if daft_k8s asked for it
outside the documented places: an exception of a worker that is trusted, and objects of a query that has some.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

NOTES = os.environ.pop("DAFT_K8S_UNPICKLED", "")  # so that neither daft_k8s nor a worker sees it
ALLOWED = {
    ("pickled_errors.py", "_unpickled"),
    ("arrow_partitions.py", "_import"),
    ("arrow_partitions.py", "refusing"),
}
PACKAGE = f"{os.sep}daft_k8s{os.sep}"
_pid = os.getpid()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "pickle.find_class" or os.getpid() != _pid:
        return
    frame = sys._getframe(1)
    is_ours = False
    while frame is not None:
        code = frame.f_code
        if PACKAGE in code.co_filename:
            if (os.path.basename(code.co_filename), code.co_name) in ALLOWED:
                return
            is_ours = True
        frame = frame.f_back  # type: ignore[assignment]
    if is_ours:
        with open(NOTES, "a", encoding="utf-8") as notes:
            notes.write(f"{arguments}\n{''.join(traceback.format_stack())}\n")


if NOTES:
    sys.addaudithook(_watch)
