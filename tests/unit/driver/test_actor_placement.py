"""Where actors go. Pure; nothing of pools or workers is started."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.driver.actor_placement import Capacity, Demand, Place, Placement

GIB = 1 << 30


def placement(workers: int = 2, *, cpus: float = 4, gpus: float = 0, memory_bytes: int = 8 * GIB) -> Placement:
    made = Placement(Capacity(cpus, gpus, memory_bytes))
    for number in range(workers):
        made.add_worker(f"worker-{number}")
    return made


def place_all(made: Placement, demand: Demand, count: int) -> list[Place | None]:
    return [made.place(str(number), demand) for number in range(count)]


def test_actors_are_spread_over_workers() -> None:
    places = place_all(placement(3), Demand(), 6)
    assert [place.worker_id for place in places if place] == ["worker-0", "worker-1", "worker-2"] * 2


def test_cpus_and_memory_are_not_given_twice() -> None:
    assert place_all(placement(1, cpus=2), Demand(cpus=1), 3)[2] is None
    assert place_all(placement(1), Demand(memory_bytes=3 * GIB), 3)[2] is None


def test_what_is_released_can_be_had_again() -> None:
    made = placement(1, cpus=1, gpus=1)
    first = made.place("a", Demand(gpus=1))
    assert made.place("b", Demand(gpus=1)) is None
    made.release("a")
    assert made.place("b", Demand(gpus=1)) == first
    made.release("unknown")


def test_cpus_may_be_shared_but_not_gpus_and_never_more_than_a_worker_has() -> None:
    made = placement(1, cpus=2, gpus=1)
    assert made.place("a", Demand(cpus=2, gpus=1))
    assert made.place("b", Demand(cpus=2)) is None
    assert made.place("b", Demand(cpus=2), share_cpus=True)
    assert made.place("c", Demand(cpus=3), share_cpus=True) is None
    assert made.place("c", Demand(gpus=0.5), share_cpus=True) is None


def test_two_halves_share_a_device_and_a_whole_one_gets_another() -> None:
    made = placement(1, gpus=2)
    devices = [made.place(name, Demand(gpus=gpus)) for name, gpus in [("a", 0.5), ("b", 0.5), ("c", 1)]]
    assert [place.devices for place in devices if place] == [(0,), (0,), (1,)]


def test_a_share_goes_to_the_device_that_is_just_large_enough() -> None:
    made = placement(1, gpus=2)
    for name, gpus in [("a", 0.6), ("b", 0.3)]:
        made.place(name, Demand(gpus=gpus))
    assert made.place("c", Demand(gpus=1)) == Place("worker-0", (1,))


def test_shares_that_fit_in_sum_but_on_no_single_device_do_not_fit() -> None:
    assert place_all(placement(1, gpus=2), Demand(gpus=0.6), 3)[2] is None


def test_several_devices_are_whole_ones() -> None:
    made = placement(1, gpus=3)
    made.place("a", Demand(gpus=0.1))
    assert made.place("b", Demand(gpus=2)) == Place("worker-0", (1, 2))


def test_a_worker_with_a_share_of_a_device_gives_no_more_than_that() -> None:
    made = placement(1, gpus=0.5)
    assert made.place("a", Demand(gpus=1)) is None
    assert made.place("a", Demand(gpus=0.5)) == Place("worker-0", (0,))


def test_a_worker_that_is_gone_takes_its_actors_and_comes_back_empty() -> None:
    made = placement(1, cpus=1)
    made.place("a", Demand())
    assert made.remove_worker("worker-0") == ["a"]
    assert made.place("b", Demand()) is None
    made.add_worker("worker-0")
    assert made.place("b", Demand())


@pytest.mark.parametrize("demand", [Demand(gpus=1.5), Demand(cpus=-1)])
def test_a_request_that_makes_no_sense_is_told(demand: Demand) -> None:
    assert demand.problem()


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1, 2]), st.sampled_from([0.0, 0.25, 0.4, 0.5, 1, 2]), st.booleans()),
        max_size=30,
    )
)
def test_no_device_is_ever_promised_more_than_once(requests: list[tuple[float, float, bool]]) -> None:
    made = placement(2, cpus=4, gpus=2)
    held: dict[str, tuple[str, tuple[int, ...], float, float]] = {}
    for number, (cpus, gpus, then_release) in enumerate(requests):
        name = str(number)
        place = made.place(name, Demand(cpus=cpus, gpus=gpus))
        if place is not None:
            held[name] = (place.worker_id, place.devices, gpus, cpus)
        if then_release and held:
            released = next(iter(held))
            del held[released]
            made.release(released)
        for worker_id in made.workers:
            of_worker = [(devices, gpus, cpus) for worker, devices, gpus, cpus in held.values() if worker == worker_id]
            assert sum(cpus for _, _, cpus in of_worker) <= 4 + 1e-6
            for device in range(2):
                assert sum(min(1.0, gpus) for devices, gpus, _ in of_worker if device in devices) <= 1 + 1e-6
