"""The wait for a name in the cluster's DNS."""

from __future__ import annotations

import asyncio

from daft_k8s.kube.reach.dns import wait_for_name


def test_a_name_is_waited_for_until_it_stands_for_the_address() -> None:
    answers = iter([set(), {"10.0.0.1"}, {"10.0.0.2"}])

    assert asyncio.run(wait_for_name("n", "10.0.0.2", look_up=lambda _: next(answers), within_seconds=20))
    assert not asyncio.run(wait_for_name("n", "10.0.0.2", look_up=lambda _: set(), within_seconds=0))
