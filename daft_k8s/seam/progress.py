"""Daft's progress bars on plain tqdm: for distributed plans Daft would ask Ray for its own."""

from __future__ import annotations

import os
import sys
from typing import Any

from daft.runners import progress_bar

_original_get_tqdm = progress_bar.get_tqdm


def get_tqdm(use_ray_tqdm: bool) -> Any:
    """Plain tqdm, or the notebook's, whatever was asked for."""
    return _original_get_tqdm(False)


class DriverProgressBar(progress_bar.ProgressBar):
    """The bars of a distributed plan; `use_ray_tqdm` is ignored."""

    def __init__(self, use_ray_tqdm: bool, show_tasks_bar: bool = False, disable: bool = False) -> None:
        super().__init__(False, show_tasks_bar, disable or not _can_be_seen())


def _can_be_seen() -> bool:
    try:
        is_terminal = sys.stderr.isatty()
    except (AttributeError, ValueError):  # None in a service, closed, or a stand-in
        return False
    # Escape codes only fill a log file. DAFT_PROGRESS_BAR=1 shows bars all the same.
    return "DAFT_PROGRESS_BAR" in os.environ or "ipykernel" in sys.modules or is_terminal


def install() -> None:
    """Puts both into Daft's module."""
    progress_bar.get_tqdm = get_tqdm
    progress_bar.ProgressBar = DriverProgressBar  # type: ignore[misc]
