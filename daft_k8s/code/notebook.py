"""A notebook that runs as a script: `python -m daft_k8s.code.notebook NAME.ipynb ARGS...`.

Its cells run one after the other as `__main__`, in their order in the file. The value of a cell's last line is printed.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

from daft_k8s.errors import CodeError

SUFFIX = ".ipynb"


class Cell(NamedTuple):
    """A cell with code."""

    name: str
    """The file's name in tracebacks."""
    source: str


def read_cells(path: Path) -> list[Cell]:
    """The cells of a notebook that have code.

    Raises:
        CodeError: The file is no notebook, or a cell has a line that only IPython understands.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = [("".join(cell["source"]), number) for number, cell in enumerate(found, 1) if _is_code(cell)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CodeError(f"{path} is not a notebook that can be read (nbformat 4): {error}") from error
    for source, number in cells:
        for line in source.splitlines():
            if line.lstrip().startswith(("%", "!")):
                raise CodeError(
                    f"{path.name}, cell {number}: {line.strip()!r} is for IPython alone; a notebook that runs as a "
                    "script has Python only. Packages belong into the option pip"
                )
    return [Cell(f"<{path.name}, cell {number}>", source) for source, number in cells]


def _is_code(cell: dict[str, object]) -> bool:
    return cell["cell_type"] == "code" and bool("".join(cell["source"]).strip())  # type: ignore[arg-type]


def compile_cell(cell: Cell) -> Iterator[tuple[CodeType, bool]]:
    """The code of a cell; True with the code of a last line whose value is printed.

    Raises:
        SyntaxError: The cell is no Python.
    """
    tree = ast.parse(cell.source, cell.name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    yield compile(tree, cell.name, "exec"), False
    if isinstance(last, ast.Expr) and not cell.source.rstrip().endswith(";"):
        yield compile(ast.Expression(last.value), cell.name, "eval"), True
    elif last is not None:
        yield compile(ast.Module([last], []), cell.name, "exec"), False


def run(path: Path) -> None:
    """Runs all cells as `__main__`.

    Raises:
        CodeError: The file is no notebook for this.
    """
    cells = read_cells(path)
    main = ModuleType("__main__")
    main.__file__ = os.path.abspath(path)
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    for cell in cells:
        # Tracebacks show the user's own lines.
        linecache.cache[cell.name] = (len(cell.source), None, cell.source.splitlines(keepends=True), cell.name)
        for code, is_value in compile_cell(cell):
            value = eval(code, main.__dict__)
            if is_value and value is not None:
                print(value)


if __name__ == "__main__":
    notebook = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    sys.excepthook = traceback.print_exception  # Python's own looks for the lines in files alone
    sys.path[0] = os.path.dirname(os.path.abspath(notebook))
    try:
        run(notebook)
    except CodeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
