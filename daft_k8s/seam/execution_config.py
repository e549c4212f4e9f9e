"""Defaults of Daft's execution configuration that suit a cluster of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.seam.flight_shuffle import configured_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from daft.daft import PyDaftExecutionConfig

FLIGHT_SHUFFLE = "flight_shuffle"
"""Daft's name for its own shuffle through files and Arrow Flight."""

SMALLEST_AGGREGATION_PARTITIONS = 16
"""Fewer would make the partitions of a large aggregation too big for a small worker."""


def aggregation_partitions(slots: int) -> int:
    """The number of partitions into which an aggregation is shuffled: two rounds of tasks on every slot."""
    return max(SMALLEST_AGGREGATION_PARTITIONS, 2 * slots)


def fit_to_cluster(
    config: PyDaftExecutionConfig,
    daft_defaults: PyDaftExecutionConfig,
    *,
    slots: int,
    shuffle_partitions: int | None = None,
    flight_folders: Callable[[Sequence[str]], list[str]] | None = None,
) -> PyDaftExecutionConfig:
    """Replaces what the user has left at Daft's defaults.

    Args:
        config: The configuration of this query.
        daft_defaults: Daft's own defaults.
        slots: Tasks that the cluster runs at once.
        shuffle_partitions: The session's option; None chooses by `slots`.
        flight_folders: The session's own folders below those that are configured for Daft's own shuffle.

    Returns:
        The configuration for the distributed plan; the argument is not changed.
    """
    algorithm = config.shuffle_algorithm
    partitions = config.shuffle_aggregation_default_partitions
    if algorithm == daft_defaults.shuffle_algorithm:
        # "auto" may pin merge tasks to one worker, and those wait for ever if that worker goes.
        algorithm = "map_reduce"
    if partitions == daft_defaults.shuffle_aggregation_default_partitions:
        partitions = shuffle_partitions or aggregation_partitions(slots)
    folders = None  # as they are
    if flight_folders is not None and algorithm == FLIGHT_SHUFFLE:
        folders = flight_folders(configured_folders(config))
    return config.with_config_values(
        shuffle_algorithm=algorithm, shuffle_aggregation_default_partitions=partitions, flight_shuffle_dirs=folders
    )
