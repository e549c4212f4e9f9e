"""The files that a text names, as Daft reads it, and the folders that workers see as their driver does. Pure.

Only names are looked at: nothing here knows whether a file exists, or where a link leads.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_IGNORED = re.compile(r"^[\x00-\x20]+|[\x00-\x20]+$|[\t\r\n]")
"""Characters that the URL standard leaves out before it looks for a scheme."""
_DATABASE = re.compile(r"(?:sqlite|duckdb)(?:\+\w+)?://(?:/(?P<path>[^?#]*))?", re.IGNORECASE)
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


class PodFolder(NamedTuple):
    """A folder as worker Pods see it."""

    folder: str
    readable: bool
    """Its files are those that the driver means."""
    writable: bool
    """Files that are written there outlive the Pod, and can be read by others."""


def disk_path(text: str, aliases: Mapping[str, str] = _NO_ALIASES) -> str | None:
    """The path on a disk that a text names; None if it names something in another store.

    Follows Daft's `parse_url`: after `file://` everything is the path, without decoding, and it may be relative.

    Args:
        text: A path, a pattern or a URL.
        aliases: The `protocol_aliases` of an IOConfig: schemes, and which ones they stand for.
    """
    if text.startswith("~/"):
        return text
    found = _SCHEME.match(_IGNORED.sub("", text))
    if found is None:
        return text
    scheme = found[1].lower()
    rest = _IGNORED.sub("", text)[found.end() :]
    if rest.startswith("//"):
        scheme = aliases.get(scheme, scheme).lower()
    if scheme == "file":
        return rest.removeprefix("//")
    if scheme == "fs":  # OpenDAL's name for the disk; where its root is, its own options say
        return rest.removeprefix("//").lstrip("/")
    return None


def database_path(url: str) -> str | None:
    """The file of a database that is a file, as SQLAlchemy reads the URL; None for servers and databases in memory."""
    found = _DATABASE.match(url.strip())
    path = found["path"] if found is not None else None
    return None if path in (None, "", ":memory:") else path


def absolute_path(path: str, *, folder: str, home: str) -> str:
    """A path on a disk as it is meant in a folder, for people to read."""
    if path.startswith("~/"):
        return posixpath.normpath(posixpath.join(home, path[2:]))
    return posixpath.normpath(posixpath.join(folder, path))


def expand_home(text: str, *, home: str) -> str:
    """A text with its leading `~/` replaced, as Daft replaces it; any other text as it is."""
    return posixpath.join(home, text[2:]) if text.startswith("~/") else text


def find_pod_folder(path: str, places: Iterable[PodFolder]) -> PodFolder | None:
    """The place that a path on a disk lies in; None if it lies in none, or does not say where it starts.

    Of places inside each other the innermost counts, as with mounts; of equal ones the last.
    """
    if not path.startswith("/") or ("{" in path and ".." in path):  # a pattern such as /data/{a,../../etc}/x
        return None
    inside = [place for place in places if is_below(path, place.folder)]
    return max(reversed(inside), key=lambda place: len(_normal(place.folder)), default=None)


def is_below(path: str, folder: str) -> bool:
    """True if a path is a folder or lies in it; both are absolute."""
    path, folder = _normal(path), _normal(folder)
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")  # POSIX leaves open what two leading slashes mean
