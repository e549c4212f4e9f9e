"""The folders from which the driver imports, on their way to the workers of the same machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def search_path(entries: Sequence[object] | None = None) -> tuple[str, ...]:
    """The search path of this process, as another one can use it: each entry once, folders absolute.

    Args:
        entries: The path; None: `sys.path`. What is no string is left out, as Python's importer does.
    """
    found = sys.path if entries is None else entries
    absolute = (_absolute(entry) for entry in found if isinstance(entry, str))
    return tuple(dict.fromkeys(entry for entry in absolute if entry is not None))


def _absolute(entry: str) -> str | None:
    if entry and (os.path.isabs(entry) or not os.path.exists(entry)):
        return entry  # not each is a folder: packages that are installed editable have hooks with names of their own
    try:
        return os.path.abspath(entry)
    except FileNotFoundError:  # the current folder was removed
        return None


def with_entries_of(current: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """A search path with the entries of another one that it lacks, each beside its neighbour there.

    Nothing is removed or moved: tasks that were sent earlier may need it as it is.

    Args:
        current: The path to add to.
        wanted: The other path.
    """
    merged = list(current)
    place = next((merged.index(entry) for entry in wanted if entry in merged), len(merged))
    for entry in wanted:
        if entry in merged:
            place = merged.index(entry) + 1
        else:
            merged.insert(place, entry)
            place += 1
    return merged
