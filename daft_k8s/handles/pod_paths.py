"""The paths that worker Pods see as the driver does, and the error for all others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from daft_k8s.errors import UnsupportedError
from daft_k8s.path_rules import PodFolder, absolute_path, disk_path, find_pod_folder

if TYPE_CHECKING:
    from daft_k8s.seam.plan_paths import PlannedPath

CHECKED_LOCATION = "location_seen_by_driver"
"""The name of the UDF that checks where an upload goes, row by row (`upload_check`); plans show it."""

_NO_ALIASES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class PodPaths:
    """The rule for paths of one session. It travels to workers inside plans, so it holds nothing of the driver."""

    places: tuple[PodFolder, ...]
    folder: str = ""
    """The driver's current folder, for messages; "": it was removed."""
    home: str = ""

    def sees(self, text: str, *, writing: bool, aliases: Mapping[str, str] = _NO_ALIASES) -> bool:
        """True if a path means the same in worker Pods, or names something in another store."""
        path = disk_path(text, aliases)
        if path is None:
            return True
        place = find_pod_folder(path, self.places)
        return place is not None and (place.writable if writing else place.readable)

    def require(
        self, text: str | os.PathLike[str], *, writing: bool, aliases: Mapping[str, str] = _NO_ALIASES, what: str = ""
    ) -> None:
        """Refuses a path that worker Pods do not see.

        Args:
            text: The path as the user wrote it.
            writing: True if tasks write there.
            aliases: The `protocol_aliases` of the IOConfig.
            what: Names the reader or writer, where that is not plain.

        Raises:
            UnsupportedError: Naming the path, why, and what to write instead.
        """
        text = os.fspath(text)
        if not self.sees(text, writing=writing, aliases=aliases):
            raise UnsupportedError(self.explain(disk_path(text, aliases) or text, text, writing=writing, what=what))

    def require_all(self, paths: Iterable[PlannedPath]) -> None:
        """Refuses the paths of a plan.

        Raises:
            UnsupportedError: As `require`.
        """
        for path in paths:
            if path.unknown:
                raise UnsupportedError(
                    f"url_upload() takes its locations from {path.forms[0]}, and in SQL nothing checks that worker "
                    "Pods see them; use upload() of daft.functions, which is checked row by row"
                )
            if not any(self.sees(form, writing=path.writing) for form in path.forms):
                self.require(path.forms[0], writing=path.writing)

    def explain(self, path: str, text: str, *, writing: bool, what: str = "") -> str:
        """The error's text for a path that worker Pods do not see."""
        relative = not path.startswith("/")
        written = (
            path if relative and text == f"file://{path}" else text
        )  # Daft's plans say `file://data/x` for `data/x`
        subject = f"{what or ('a write' if writing else 'a read')} {'to' if writing else 'from'} {written!r}"
        if relative:
            subject += f" ({absolute_path(path, folder=self.folder, home=self.home)})"
        shared = sorted(place.folder for place in self.places if (place.writable if writing else place.readable))
        folders = f" ({', '.join(shared)})" if shared else ""
        loss = "what is written there would be lost" if writing else "tasks would find other files or none"
        instead = "" if writing else "; a small file can be read here, with pyarrow, and passed to daft.from_arrow"
        return (
            f"{subject} is refused: the path is on a disk that worker Pods do not share with the driver, so {loss}. "
            f"Use an object store (s3://, gs://, az://), or the absolute path of a folder that both see{folders}: in "
            "a volume that pod_template mounts into the workers (a PersistentVolumeClaim, NFS), or one that the option "
            f"shared_paths names{instead}"
        )
