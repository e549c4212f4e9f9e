"""The check of upload locations that stand in the data: it runs on the workers, before the upload of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import daft

from daft_k8s.handles.pod_paths import CHECKED_LOCATION

if TYPE_CHECKING:
    from daft import Expression, Series

    from daft_k8s.handles.pod_paths import PodPaths


def check_locations(locations: Expression, paths: PodPaths) -> Expression:
    """The same locations, with an error where one is on a disk that worker Pods do not share with the driver."""

    def location_seen_by_driver(values: Series) -> Any:
        for text in values.to_pylist():
            if text is not None:
                paths.require(text, writing=True, what="an upload")
        return values

    location_seen_by_driver.__qualname__ = CHECKED_LOCATION
    make: Any = daft.func.batch(return_dtype=daft.DataType.string())
    checked: Expression = make(location_seen_by_driver)(locations)
    return checked
