"""Facts that a driver in a Pod finds out about itself. Real Pods: tests/integration."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError
from daft_k8s.kube.objects.target import Target
from daft_k8s.kube.session.driver_pod import find_target, own_addresses
from tests.unit.kube.fake_cluster import FakeCluster


def target_of(cluster: FakeCluster, addresses: set[str], *ips: str, **options: Any) -> Target:
    status = {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]} if ips else {}
    containers = [{"name": "driver", "image": "registry.test/image:1"}]
    metadata = {"name": "driver", "uid": "uid"}
    cluster.pods["driver"] = {"metadata": metadata, "spec": {"containers": containers}, "status": status}
    configuration = Configuration(allocation="pod", num_workers=1, **options)
    return asyncio.run(find_target(cluster, configuration, pod_name="driver", own="jobs", addresses=lambda: addresses))


@pytest.mark.parametrize(
    ("addresses", "ips"),
    [
        ({"10.0.0.7", "10.8.0.1"}, ("10.0.0.7",)),
        ({"fd00::7"}, ("10.0.0.7", "fd00:0:0::7")),
        (set(), ("10.0.0.7",)),
        ({"10.0.0.7"}, ()),
        ({"fd00::7"}, ("10.0.0.7",)),
        ({"10.0.0.7"}, ("no address",)),
    ],
    ids=["one of several", "of the other family", "not told here", "not told there", "not comparable", "unreadable"],
)
def test_a_pod_that_may_be_here_is_the_drivers(cluster: FakeCluster, addresses: set[str], ips: tuple[str, ...]) -> None:
    target = target_of(cluster, addresses, *ips)
    assert target.owner is not None
    assert (target.owner.uid, target.image) == ("uid", "registry.test/image:1")


def test_a_pod_with_other_ips_is_not_the_drivers(cluster: FakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Where it would own the workers, they would live and die with a stranger."""
    target = target_of(cluster, {"10.0.0.7"}, "10.0.0.8", image="mine")
    assert (target.owner, target.image, target.labels) == (None, "mine", {})
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "set POD_NAME" in record.getMessage()


def test_an_image_of_a_pod_with_other_ips_is_not_taken(cluster: FakeCluster) -> None:
    with pytest.raises(ConfigurationError, match=r"the Pod 'driver' has other IPs.*POD_NAME"):
        target_of(cluster, {"10.0.0.7"}, "10.0.0.8")


FIB_TRIE = """\
Main:
     +-- 10.0.0.0/24 2 0 2
           |-- 10.0.0.7
              /32 host LOCAL
           |-- 10.0.0.255
              /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000007 02 40 00 80     eth0
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
"""


def test_addresses_are_those_by_which_others_reach_this_process(tmp_path: Path) -> None:
    assert own_addresses(tmp_path) == set()
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    assert own_addresses(tmp_path) == {"10.0.0.7"}
    (tmp_path / "if_inet6").write_text(IF_INET6)
    assert own_addresses(tmp_path) == {"10.0.0.7", "fd00::7"}
    (tmp_path / "if_inet6").write_text("of another form")
    assert own_addresses(tmp_path) == {"10.0.0.7"}
