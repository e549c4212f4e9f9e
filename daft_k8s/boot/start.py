"""Starts a module in a process of Python that imports from where its parent does.

`python -u start.py MODULE ARGUMENTS...` reads the search path from a variable, removes the variable, becomes MODULE.
The path does not travel in PYTHONPATH. Programs that the new process starts, other versions of Python among them, would
inherit it. And PYTHONPATH cannot hold a folder whose name has a colon.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the folder of this file, whose modules would hide those of the standard library

import json
import os
import runpy
from collections.abc import Sequence

_VARIABLE = "DAFT_K8S_INTERNAL_SEARCH_PATH"


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module; `variables` belong into its environment.

    Its output is unbuffered, so that what a UDF printed before a crash is not lost.
    """
    return [sys.executable, "-u", os.path.abspath(__file__), module, *arguments]


def variables(search_path: Sequence[str]) -> dict[str, str]:
    """Returns the variables that `command` needs for a process that imports from these folders."""
    return {_VARIABLE: json.dumps(list(search_path))}


def main() -> None:
    """Becomes the module that the command line names."""
    sys.path[:] = json.loads(os.environ.pop(_VARIABLE))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
