"""Compiles the modules that a start imports, and those alone, so that an image is small and starts quickly.

    python compile_imported.py daft kubernetes_asyncio.client

Imports what the arguments name, then writes the byte code of everything that this has imported from the environment.
The byte code is checked against a hash of the source, not its time: builders that set all times to one value change
nothing, and a file that somebody lays over the image is noticed.
"""

from __future__ import annotations

import importlib
import importlib.util
import py_compile
import sys
from pathlib import Path


def main() -> None:
    sys.dont_write_bytecode = True
    for name in sys.argv[1:]:
        importlib.import_module(name)
    compiled = 0
    for module in list(sys.modules.values()):
        source = getattr(module, "__file__", None)
        if source is None or not source.endswith(".py") or not Path(source).is_relative_to(sys.prefix):
            continue
        if not Path(importlib.util.cache_from_source(source)).exists():
            py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
            compiled += 1
    print(f"compiled {compiled} modules")


if __name__ == "__main__":
    main()
