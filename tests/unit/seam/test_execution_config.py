"""Defaults for shuffles and aggregations, and what the user's own settings do to them."""

from __future__ import annotations

import pytest
from daft.daft import PyDaftExecutionConfig

from daft_k8s.seam.execution_config import aggregation_partitions, fit_to_cluster
from daft_k8s.seam.flight_shuffle import FlightFolders, configured_folders

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


def test_the_files_of_dafts_own_shuffle_lie_in_folders_of_the_session() -> None:
    config = PyDaftExecutionConfig().with_config_values(
        shuffle_algorithm="flight_shuffle", flight_shuffle_dirs=["/one", "/two"]
    )
    fitted = fit_to_cluster(config, DEFAULTS, slots=2, flight_folders=FlightFolders("s1").private)
    assert fitted.shuffle_algorithm == "flight_shuffle"
    assert configured_folders(fitted) == ["/one/daft_k8s-s1", "/two/daft_k8s-s1"]


@pytest.mark.parametrize("folders", [["/tmp"], ["a"], ["auto", "lz4", "é" * 300], ["/x"] * 100])
def test_the_configured_folders_are_found_although_daft_does_not_tell(folders: list[str]) -> None:
    assert configured_folders(PyDaftExecutionConfig().with_config_values(flight_shuffle_dirs=folders)) == folders


def test_without_a_word_of_the_user_the_folder_is_dafts_default() -> None:
    assert configured_folders(PyDaftExecutionConfig()) == ["/tmp"]
