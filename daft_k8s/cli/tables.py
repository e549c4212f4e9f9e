"""Tables of text. Without the library of the command line, which a driver's image need not have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from daft_k8s.printable import printable


def table_lines(head: Sequence[str], lines: Sequence[Sequence[object]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as they must be."""
    table = [list(head), *[[_cell(cell) for cell in line] for line in lines]]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    return "" if value is None else printable(str(value))
