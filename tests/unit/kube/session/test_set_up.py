"""How long a session takes to find its target and make its objects if each answer takes a second, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
from dataclasses import replace
from typing import Any

import pytest

from daft_k8s.config import Configuration
from daft_k8s.errors import WorkerStartError
from daft_k8s.kube.objects import names
from daft_k8s.kube.objects.manifest import worker_pod
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.kube.session.access import Access
from daft_k8s.kube.session.session_objects import SessionObjects
from tests.unit.kube.fake_cluster import FakeCluster
from tests.unit.kube.virtual_time import run_for

INSIDE = Target("jobs", "image", owner=Owner("driver", "uid"), labels={names.DRIVER_POD_LABEL: "uid"})
OUTSIDE = Target("jobs", "image", forwarded=True)


class SlowApi:
    """A cluster whose answers take a second each."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def now(self) -> Any:
        return self._cluster.now()

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(1)
            return await getattr(self._cluster, name)(*arguments, **options)

        return call


def objects_in(cluster: FakeCluster, target: Target) -> SessionObjects:
    async def connect() -> Any:
        return SlowApi(cluster)

    async def find_target(_api: Any, _configuration: Configuration) -> Target:
        return target

    return SessionObjects(
        Configuration(allocation="pod", num_workers=2),
        session_id="s1",
        token="t",
        certificates={},
        access=Access(connect, find_target, forwarded=target.forwarded),
    )


async def look(api: Any, target: Target) -> None:
    await api.list_quotas(target.namespace)


@pytest.mark.parametrize(("target", "seconds"), [(INSIDE, 2), (OUTSIDE, 3)])
def test_what_does_not_depend_on_one_another_is_asked_at_once(
    cluster: FakeCluster, target: Target, seconds: int
) -> None:
    async def work() -> None:
        await objects_in(cluster, target).set_up(look)
        assert asyncio.get_running_loop().time() == seconds

    run_for(60, work())
    assert {"review rights", "list resourcequotas", "create leases", "create secrets"} <= set(cluster.calls)
    assert ("list pods" in cluster.calls) is (target is INSIDE)


def test_a_secret_that_another_account_made_beforehand_is_not_taken(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "token_hex", secrets.token_hex)
    planted: dict[str, Any] = {"metadata": {"name": "daft-s1"}, "data": {"token": "bWFsbG9yeQ=="}}
    cluster.secrets["daft-s1"] = planted

    objects = objects_in(cluster, INSIDE)
    run_for(60, objects.set_up(look))
    assert objects.target is not None
    secret = objects.target.secret
    assert re.fullmatch("daft-s1-[0-9a-f]{16}", secret)
    pod = worker_pod(
        Configuration(allocation="pod"), replace(INSIDE, secret=secret), session_id="s1", worker_id="w", launch_id=1
    )
    assert secret in {volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]}
    assert base64.b64decode(cluster.secrets[secret]["data"]["token"]) == b"t"
    assert cluster.secrets["daft-s1"] is planted


def test_no_object_but_the_pods_tells_the_name_of_the_secret(cluster: FakeCluster) -> None:
    run_for(60, objects_in(cluster, OUTSIDE).set_up(look))
    [secret] = cluster.secrets
    assert secret not in json.dumps(cluster.leases)


def test_nothing_is_made_before_the_rights_are_known_to_be_there(cluster: FakeCluster) -> None:
    cluster.forbidden = {"watch pods"}

    async def work() -> None:
        with pytest.raises(WorkerStartError, match="may not watch pods"):
            await objects_in(cluster, INSIDE).set_up(look)
        assert len(asyncio.all_tasks()) == 2, "this one and its runner; nothing is left under way"

    run_for(60, work())
    assert not [call for call in cluster.calls if call.startswith("create")]
