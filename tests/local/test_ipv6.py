"""Workers whose addresses are IPv6, as in clusters that know no other."""

from __future__ import annotations

import json
import socket

import pytest

from tests.local import driver_process

SCRIPT = """
import json
import daft, daft_k8s
from daft import col
from daft_k8s.allocation import local_environment

local_environment.HOST = "::1"
options = dict(allocation="local", num_workers=2, worker_cpu=1, worker_memory="512Mi", tls={tls})
with daft_k8s.set_runner_k8s(**options) as session:
    assert session.manager.wait_ready(2, 60) == 2
    df = daft.range(10_000, partitions=6).with_column("key", col("id") % 7)
    sums = df.groupby("key").agg(col("id").sum().alias("sum")).sort("key").to_pydict()["sum"]
    print(json.dumps([sums, repr(session.snapshot())]))
"""


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "encrypted"])
def test_workers_with_ipv6_addresses_serve_the_driver_and_one_another(tls: bool) -> None:
    process = driver_process.run(SCRIPT.format(tls=tls))
    assert process.returncode == 0, process.stderr[-5000:]
    sums, status = json.loads(process.stdout.splitlines()[-1])
    assert sums == [sum(range(key, 10_000, 7)) for key in range(7)]
    assert "[::1]:" in status, status
    assert "127.0.0.1" not in status
