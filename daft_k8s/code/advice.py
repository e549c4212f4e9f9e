"""The advice given when a module is missing on a worker."""

from __future__ import annotations

import re

from daft_k8s.wire.raised import attribute_of, causes_of, text_of

_TOLD = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
"""Daft carries what a row's function raised as text."""


def missing_module(error: BaseException) -> str | None:
    """The name of the module whose absence made something fail; None: it failed for another reason."""
    for link in causes_of(error):
        name = attribute_of(link, "name") if issubclass(type(link), ModuleNotFoundError) else None
        if name and type(name) is str:
            return name
        told = _TOLD.search(text_of(link))
        if told:
            return told.group(1)
    return None


def ways_to_ship(module: str, worker_id: str, shipped_root: str) -> str:
    """One sentence with the three ways to bring a module to the workers.

    Args:
        module: Its full name.
        worker_id: The worker that lacks the module.
        shipped_root: The folder that was shipped; "": none was.
    """
    top = module.partition(".")[0]
    known = (
        f"the driver shipped the modules of {shipped_root}, and it is not among them"
        if shipped_root
        else "the driver shipped no code"
    )
    return (
        f"the module {module!r} is missing on {worker_id} ({known}). If it is your own, put it beside the script or "
        f"set working_dir to the folder that holds it; if it is published, pip=[{top!r}] installs it when a "
        "worker starts; or set image to an image that has it"
    )
