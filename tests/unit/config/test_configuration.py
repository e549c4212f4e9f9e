"""The object itself.

Covered: chosen sizes, equality, hashing, pickling, ignored options, metadata. The
machine has 8 CPUs and 32 GiB here (conftest).
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.config import FIELDS, Configuration
from daft_k8s.config.frozen import FrozenMap, freeze, thaw
from daft_k8s.config.sizing import MIN_WORKER_BYTES, local_size, pod_size
from tests.unit.config.conftest import Load

GIB = 2**30


@pytest.mark.parametrize(
    ("given_sizes", "workers", "cpu", "memory_bytes"),
    [
        ({}, 4, 2.0, 6 * GIB),
        ({"num_workers": 2}, 2, 4.0, 12 * GIB),
        ({"num_workers": 16}, 16, 1.0, int(1.5 * GIB)),
        ({"worker_cpu": 3}, 2, 3.0, 12 * GIB),
        ({"worker_cpu": 16}, 1, 16.0, 24 * GIB),
        ({"worker_cpu": "500m"}, 4, 1.0, 6 * GIB),
        ({"worker_cpu": 1.5}, 4, 2.0, 6 * GIB),
        ({"num_workers": 2, "worker_cpu": 1, "worker_memory": "4Gi"}, 2, 1.0, 4 * GIB),
    ],
)
def test_local_workers_share_the_machine(
    read: Load, given_sizes: dict[str, object], workers: int, cpu: float, memory_bytes: int
) -> None:
    found = read(**given_sizes)
    assert (found.num_workers, found.worker_cpu, found.worker_memory_bytes) == (workers, cpu, memory_bytes)


@pytest.mark.parametrize(
    ("given_sizes", "workers", "cpu", "memory_bytes", "minimum"),
    [
        ({}, 2, 1.0, 4 * GIB, None),
        ({"worker_cpu": 0.5}, 2, 0.5, 2 * GIB, None),
        ({"worker_cpu": 0.1}, 2, 0.1, GIB, None),
        ({"worker_cpu": 4, "num_workers": 3}, 3, 4.0, 16 * GIB, None),
        ({"max_workers": 9}, 1, 1.0, 4 * GIB, 1),
        ({"min_workers": 0, "max_workers": 9}, 0, 1.0, 4 * GIB, 0),
        ({"min_workers": 3, "max_workers": 9}, 3, 1.0, 4 * GIB, 3),
        ({"num_workers": 5, "max_workers": 9}, 5, 1.0, 4 * GIB, 1),
    ],
)
def test_pods_get_sizes_that_fit_usual_nodes(
    read: Load, given_sizes: dict[str, object], workers: int, cpu: float, memory_bytes: int, minimum: int | None
) -> None:
    found = read(allocation="pod", **given_sizes)
    assert (found.num_workers, found.worker_cpu, found.worker_memory_bytes) == (workers, cpu, memory_bytes)
    assert (found.min_workers, found.elastic) == (minimum, "max_workers" in given_sizes)
    found.validate()


@given(
    num_workers=st.none() | st.integers(1, 100),
    worker_cpu=st.none() | st.floats(0.1, 64),
    cpus=st.integers(1, 256),
    memory_bytes=st.integers(2**20, 2**42),
)
def test_chosen_local_sizes_never_overcommit_a_machine_unless_asked_to(
    num_workers: int | None, worker_cpu: float | None, cpus: int, memory_bytes: int
) -> None:
    size = local_size(
        num_workers=num_workers, worker_cpu=worker_cpu, worker_memory_bytes=None, cpus=cpus, memory_bytes=memory_bytes
    )
    assert size.num_workers >= 1
    assert size.worker_cpu >= 1
    assert size.worker_cpu == int(size.worker_cpu)
    if size.worker_memory_bytes > MIN_WORKER_BYTES:
        assert size.num_workers * size.worker_memory_bytes <= memory_bytes * 0.75
    if (num_workers or 1) <= cpus and worker_cpu is None:
        assert size.num_workers * size.worker_cpu <= cpus
    if num_workers is None:
        assert size.num_workers <= 4


@given(worker_cpu=st.floats(0.1, 256))
def test_chosen_memory_of_a_pod_is_whole_mebibytes(worker_cpu: float) -> None:
    size = pod_size(num_workers=1, min_workers=None, max_workers=None, worker_cpu=worker_cpu, worker_memory_bytes=None)
    assert size.worker_memory_bytes % 2**20 == 0
    assert size.worker_memory_bytes >= max(GIB, 4 * GIB * worker_cpu)


def test_slots_are_whole_cores_and_at_least_one(read: Load) -> None:
    slots = [read(allocation="pod", worker_cpu=cpu).slots_per_worker for cpu in (0.5, 1, 1.9, 4)]
    assert slots == [1, 1, 1, 4]


def test_the_store_gets_its_share_of_the_memory(read: Load) -> None:
    assert read(worker_memory="4Gi", store_memory_share=0.25).store_memory_bytes == GIB


def test_a_configuration_is_immutable_hashable_and_equal_to_its_copies(read: Load) -> None:
    first = read(
        node_selector={"a": "b"}, env={"A": "1"}, tolerations=[{"key": "a"}], pod_template={"spec": {"a": [1]}}
    )
    for second in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first), dataclasses.replace(first)):
        assert second == first
        assert hash(second) == hash(first)
        assert second.origins == first.origins
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.num_workers = 3  # type: ignore[misc]
    assert first != read(node_selector={"a": "c"})


def test_a_change_of_the_given_map_does_not_reach_the_configuration(read: Load) -> None:
    inner: dict[str, object] = {"nodeName": "a"}
    template = {"spec": inner}
    configuration = read(pod_template=template)
    inner["nodeName"] = "b"
    assert configuration.pod_template == {"spec": {"nodeName": "a"}}


def test_an_unpickled_configuration_keeps_the_sizes_of_the_machine_that_made_it(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(read())
    monkeypatch.setattr("daft_k8s.config.machine.available_cpus", lambda: 1)
    assert pickle.loads(data).num_workers == 4


def test_options_for_pods_are_ignored_locally_if_somebody_set_them(read: Load) -> None:
    assert read(allocation="pod", namespace="x").ignored() == ()
    assert read(preset="high-performance", allocation="local").ignored() == ()
    configuration = read({"DAFT_K8S_IMAGE": "a"}, toml='labels.a = "b"', namespace="x", env={"A": "1"})
    assert configuration.ignored() == ("namespace", "image", "labels")


def test_options_for_pods_are_ignored_in_a_configuration_made_by_hand() -> None:
    assert Configuration(namespace="x", priority_class="y").ignored() == ("namespace", "priority_class")


def test_repr_shows_no_secret(read: Load) -> None:
    text = repr(read(env={"PASSWORD": "12345678"}, pod_template={"spec": {"password": "12345678"}}))
    assert "12345678" not in text
    assert "num_workers=4" in text


def test_every_field_is_an_option_with_a_description() -> None:
    attributes = [field.name for field in dataclasses.fields(Configuration) if field.name != "origins"]
    assert [field.attribute for field in FIELDS.values()] == attributes
    for field in FIELDS.values():
        assert field.description, f"{field.name} has no docstring"
        if field.default is None:
            assert "None: " in field.description, f"{field.name} does not say what None means"
        assert field.accepts
        assert field.variable == f"DAFT_K8S_{field.name.upper()}"


def test_every_default_is_accepted_by_its_own_option() -> None:
    for field in FIELDS.values():
        if field.default is not None:
            assert field.option.kind.read(field.default, Path()) == field.default


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_frozen_json_is_hashable_and_thaws_to_what_it_was(value: object) -> None:
    frozen = freeze(value)
    hash(frozen)
    assert thaw(frozen) == value
    assert pickle.loads(pickle.dumps(frozen)) == frozen


def test_a_frozen_map_equals_other_mappings_whatever_their_order() -> None:
    assert FrozenMap({"a": 1, "b": 2}) == {"b": 2, "a": 1}
    assert hash(FrozenMap({"a": 1, "b": 2})) == hash(FrozenMap({"b": 2, "a": 1}))
    assert FrozenMap({"a": 1}) != 5
