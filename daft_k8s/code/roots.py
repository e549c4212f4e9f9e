"""The folder from which the driver imports its own modules."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from types import ModuleType
from typing import NamedTuple


class ScriptFolder(NamedTuple):
    """The folder of the script that runs."""

    path: str
    shallow: bool
    """Only the modules that lie directly in it: it is a folder like the user's home that holds everything."""


def script_folder(main: ModuleType | None = None, *, current: str | None = None) -> ScriptFolder | None:
    """Returns the folder in which Python looks first for the imports of `__main__`.

    Args:
        main: The module; None: `__main__` itself.
        current: The current folder, which is what counts for a notebook and a prompt; None: the process's.

    Returns:
        None if the program is an installed one, such as pytest: what that imports is installed as well.
    """
    main = sys.modules.get("__main__") if main is None else main
    file = getattr(main, "__file__", None)
    if file is None:
        folder = os.getcwd() if current is None else current
    else:
        folder = os.path.dirname(os.path.abspath(file))
        spec = getattr(main, "__spec__", None)
        package = (getattr(spec, "parent", None) or "") if spec is not None else ""
        if package:  # python -m package.module
            for _ in package.split("."):
                folder = os.path.dirname(folder)
    folder = os.path.realpath(folder)
    if is_installed(folder):
        return None
    return ScriptFolder(folder, shallow=folder in _folders_of_everything())


def is_installed(folder: str) -> bool:
    """True if a folder belongs to Python or to an environment, and not to the user's own code."""
    paths = sysconfig.get_paths()
    own = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    if sys.prefix != sys.base_prefix:
        own.add(os.path.realpath(sys.prefix))
    parts = folder.split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    return any(folder == entry or folder.startswith(entry + os.sep) for entry in own)


def _folders_of_everything() -> set[str]:
    return {os.path.realpath(path) for path in (os.sep, os.path.expanduser("~"), tempfile.gettempdir())}
