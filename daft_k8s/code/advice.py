"""What to say when a module is missing on a worker."""

from __future__ import annotations

import re

_TOLD = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
"""Daft carries what a row's function raised as text."""


def missing_module(error: BaseException) -> str | None:
    """The name of the module whose absence made something fail; None: it failed for another reason."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, ModuleNotFoundError) and link.name:
            return link.name
        told = _TOLD.search(str(link))
        if told:
            return told.group(1)
        seen.append(link)
        original = getattr(link, "original_exception", None)  # of Daft's UDFException
        link = link.__cause__ or (original if isinstance(original, BaseException) else None)
    return None


def ways_to_ship(module: str, worker_id: str, shipped_root: str) -> str:
    """One sentence with the three ways to bring a module to the workers.

    Args:
        module: Its full name.
        worker_id: Where it is missing.
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
