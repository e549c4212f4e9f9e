"""How addresses are written."""

from __future__ import annotations

import pytest

from daft_k8s import addresses


@pytest.mark.parametrize(
    ("host", "port", "joined"),
    [
        ("10.0.0.1", 7777, "10.0.0.1:7777"),
        ("worker-0.daft.jobs.svc", 7778, "worker-0.daft.jobs.svc:7778"),
        ("::1", 7777, "[::1]:7777"),
        ("fd00::10:1", "443", "[fd00::10:1]:443"),
        ("[fd00::1]", 443, "[fd00::1]:443"),
    ],
)
def test_an_ipv6_address_is_put_in_brackets_and_nothing_else(host: str, port: int | str, joined: str) -> None:
    assert addresses.join(host, port) == joined
