"""Defaults of Daft's execution configuration that suit a cluster of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daft_k8s.seam.unsupported import refuse

if TYPE_CHECKING:
    from daft.daft import PyDaftExecutionConfig

SMALLEST_AGGREGATION_PARTITIONS = 16
"""Fewer would make the partitions of a large aggregation too big for a small worker."""


def aggregation_partitions(slots: int) -> int:
    """How many partitions an aggregation is shuffled into: two rounds of tasks on every slot."""
    return max(SMALLEST_AGGREGATION_PARTITIONS, 2 * slots)


def fit_to_cluster(
    config: PyDaftExecutionConfig,
    daft_defaults: PyDaftExecutionConfig,
    *,
    slots: int,
    shuffle_partitions: int | None = None,
) -> PyDaftExecutionConfig:
    """Replaces what the user has left at Daft's defaults.

    Args:
        config: The configuration of this query.
        daft_defaults: What Daft has when nobody sets anything.
        slots: Tasks that the cluster runs at once.
        shuffle_partitions: What the session is configured to use; None chooses by `slots`.

    Returns:
        The configuration for the distributed plan; the argument is not changed.

    Raises:
        UnsupportedError: If the user asks for a shuffle that this runner does not have.
    """
    algorithm = config.shuffle_algorithm
    if algorithm == "flight_shuffle":
        refuse('shuffle_algorithm="flight_shuffle"', 'use "map_reduce" or leave it unset')
    partitions = config.shuffle_aggregation_default_partitions
    if algorithm == daft_defaults.shuffle_algorithm:
        # "auto" may pin merge tasks to one worker, and those wait for ever if that worker goes.
        algorithm = "map_reduce"
    if partitions == daft_defaults.shuffle_aggregation_default_partitions:
        partitions = shuffle_partitions or aggregation_partitions(slots)
    return config.with_config_values(shuffle_algorithm=algorithm, shuffle_aggregation_default_partitions=partitions)
