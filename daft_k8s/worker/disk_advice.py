"""Advice for tasks that miss a file, on a worker whose disk is not the driver's."""

from __future__ import annotations

import re

_MISSING = re.compile(r"FileNotFound(?:Error)?\b")


def missing_file_advice(details: str, worker_id: str) -> str:
    """A line for the error of a task that found no file; "" for any other error.

    Paths in the data and in UDFs are seen by no check before the query runs.

    Args:
        details: The error with its traceback.
        worker_id: The worker.
    """
    if _MISSING.search(details) is None:
        return ""
    return (
        f"the path is looked up in the Pod of {worker_id}, whose disk is not the driver's. Use an object store, a "
        "volume that pod_template mounts, files of working_dir, or data in the workers' image"
    )
