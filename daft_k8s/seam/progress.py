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
        super().__init__(False, show_tasks_bar, disable or not _somebody_watches())


def _somebody_watches() -> bool:
    # A log file full of escape codes helps nobody; who wants bars there says DAFT_PROGRESS_BAR=1.
    return "DAFT_PROGRESS_BAR" in os.environ or "ipykernel" in sys.modules or sys.stderr.isatty()


def install() -> None:
    """Puts both into Daft's module."""
    progress_bar.get_tqdm = get_tqdm
    progress_bar.ProgressBar = DriverProgressBar  # type: ignore[misc]
