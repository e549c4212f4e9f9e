"""Defaults for shuffles and aggregations, and what the user's own settings do to them."""

from __future__ import annotations

import pytest
from daft.daft import PyDaftExecutionConfig

from daft_k8s.errors import UnsupportedError
from daft_k8s.seam.execution_config import aggregation_partitions, fit_to_cluster

DEFAULTS = PyDaftExecutionConfig()


def test_what_the_user_left_alone_gets_values_that_suit_the_cluster() -> None:
    fitted = fit_to_cluster(PyDaftExecutionConfig(), DEFAULTS, slots=64)
    assert fitted.shuffle_algorithm == "map_reduce"
    assert fitted.shuffle_aggregation_default_partitions == 128


def test_partitions_grow_with_the_slots_from_a_small_number() -> None:
    assert aggregation_partitions(2) == 16
    assert aggregation_partitions(1000) == 2000
    counts = [aggregation_partitions(slots) for slots in range(1, 300)]
    assert counts == sorted(counts)


def test_what_the_user_set_stays() -> None:
    config = PyDaftExecutionConfig().with_config_values(
        shuffle_algorithm="pre_shuffle_merge", shuffle_aggregation_default_partitions=77
    )
    fitted = fit_to_cluster(config, DEFAULTS, slots=64, shuffle_partitions=5)
    assert fitted.shuffle_algorithm == "pre_shuffle_merge"
    assert fitted.shuffle_aggregation_default_partitions == 77


def test_the_session_can_name_the_number_of_partitions() -> None:
    fitted = fit_to_cluster(PyDaftExecutionConfig(), DEFAULTS, slots=64, shuffle_partitions=5)
    assert fitted.shuffle_aggregation_default_partitions == 5


def test_the_users_configuration_object_is_not_changed() -> None:
    config = PyDaftExecutionConfig()
    fit_to_cluster(config, DEFAULTS, slots=64)
    assert config.shuffle_algorithm == DEFAULTS.shuffle_algorithm
    assert config.shuffle_aggregation_default_partitions == DEFAULTS.shuffle_aggregation_default_partitions


def test_a_shuffle_that_is_not_there_is_refused_by_name() -> None:
    config = PyDaftExecutionConfig().with_config_values(shuffle_algorithm="flight_shuffle")
    with pytest.raises(UnsupportedError, match="flight_shuffle"):
        fit_to_cluster(config, DEFAULTS, slots=2)
