"""What an actor asks for, from the UDF and from its `ray_options`."""

from __future__ import annotations

from typing import Any

import pytest

from daft_k8s.driver.actor_request import Demand
from daft_k8s.errors import UnsupportedError
from daft_k8s.seam.udf_actors import demand_of


def test_ray_options_of_the_same_meaning_go_first() -> None:
    assert demand_of("f", 1, 0.5, 100, None) == Demand(1, 0.5, 100)
    assert demand_of("f", 1, 0.5, 100, {"num_gpus": 2, "memory": 7, "runtime_env": {}}) == Demand(1, 2, 7)


def test_zero_in_ray_options_is_zero() -> None:
    assert demand_of("f", 1, 0.5, 100, {"num_cpus": 0, "num_gpus": 0}) == Demand(0, 0, 100)


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        ({"label_selector": {"zone": "a"}}, "node_selector"),
        ({"runtime_env": {"conda": "env"}}, "image"),
        ({"max_task_retries": 9}, "max_task_retries"),
    ],
)
def test_other_ray_options_are_refused_with_what_to_do_instead(options: dict[str, Any], instead: str) -> None:
    with pytest.raises(UnsupportedError, match=instead):
        demand_of("f", 1, 0, 0, options)
