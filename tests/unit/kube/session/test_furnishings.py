"""That a session's Secret and Lease are made again whenever they are gone, and named where they cannot be."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.objects import lease
from daft_k8s.kube.objects.target import Owner, Target
from daft_k8s.kube.session.furnishings import SECRET_SECONDS, Furnishings
from tests.unit.kube.fake_cluster import FakeCluster
from tests.unit.kube.virtual_time import run_for

INSIDE = Target("jobs", "image", owner=Owner("driver", "uid"))
OUTSIDE = Target("jobs", "image", forwarded=True)
SECRET = "daft-s1-00000000"
LEASE = "daft-s1"
NO_ROOM = ApiError("create secrets", 403, "exceeded quota: small", reason="Forbidden")
DENIED = ApiError("create secrets", 403, "denied by a webhook", reason="Forbidden")


@pytest.fixture
def furnishings() -> Furnishings:
    return Furnishings("s1", token="t", certificates={"ca.crt": b"c"}, orphan_timeout_seconds=120)


def keep_for(seconds: float, furnishings: Furnishings, cluster: FakeCluster, target: Target, *more: Any) -> None:
    """Makes and keeps Lease and Secret for so long; `more` are functions that are called 1 s after the begin."""

    async def work() -> None:
        await furnishings.make(cluster, target)
        keeping = asyncio.ensure_future(furnishings.keep(cluster))
        await asyncio.sleep(1)
        for function in more:
            function()
        await keeping

    run_for(seconds, work())


@pytest.mark.parametrize("target", [INSIDE, OUTSIDE], ids=["inside", "outside"])
def test_a_secret_that_somebody_deletes_is_made_again_as_it_was(
    furnishings: Furnishings, cluster: FakeCluster, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    deleted: list[Any] = []
    keep_for(SECRET_SECONDS + 2, furnishings, cluster, target, lambda: deleted.append(cluster.secrets.pop(SECRET)))
    assert [cluster.secrets[SECRET]] == deleted
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"the session's Secret {SECRET} was gone, so that no new worker could start: a user or a controller has "
        "deleted it. It is made again"
    ]


def test_a_secret_that_cannot_be_made_again_is_named_once_and_asked_for_again(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def lose() -> None:
        cluster.secrets.clear()
        cluster.problems["create secrets"] = [DENIED] * 3

    keep_for(4 * SECRET_SECONDS + 2, furnishings, cluster, INSIDE, lose)
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 2
    assert f"the session's Secret {SECRET} may be gone and could not be made again" in warned[0]
    assert "denied by a webhook" in warned[0]
    assert "It is made again" in warned[1]
    assert SECRET in cluster.secrets


@pytest.mark.parametrize("problem", [NO_ROOM, ApiError("create secrets", 0, "TimeoutError")], ids=["quota", "away"])
def test_a_refusal_that_says_nothing_of_the_secret_is_no_news_for_people(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture, problem: ApiError
) -> None:
    """A full quota refuses also what is there, and an API server that is away refuses all."""

    def refuse() -> None:
        cluster.problems["create secrets"] = [problem] * 3

    keep_for(4 * SECRET_SECONDS + 2, furnishings, cluster, INSIDE, refuse)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_secret_is_looked_at_when_a_pod_is_made_but_not_for_each_of_many(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    async def work() -> None:
        await furnishings.make(cluster, INSIDE)
        cluster.secrets.clear()
        await asyncio.sleep(6)
        await asyncio.gather(*(furnishings.secure(cluster) for _ in range(100)))
        assert SECRET in cluster.secrets
        assert cluster.calls.count("create secrets") == 2

    run_for(60, work())


def test_nothing_is_made_again_once_the_session_ends(furnishings: Furnishings, cluster: FakeCluster) -> None:
    async def work() -> None:
        await furnishings.make(cluster, OUTSIDE)
        keeping = asyncio.ensure_future(furnishings.keep(cluster))
        await furnishings.end()
        cluster.secrets.clear()
        cluster.leases.clear()
        await furnishings.secure(cluster, surely=True)
        await keeping

    run_for(10 * SECRET_SECONDS, work())
    assert not cluster.secrets
    assert not cluster.leases


@pytest.mark.parametrize("target", [INSIDE, OUTSIDE], ids=["inside", "outside"])
@pytest.mark.parametrize(("status", "reason"), [(403, "Forbidden"), (503, ""), (0, "")])
def test_a_lease_that_is_gone_and_refused_for_a_while_is_made_again(
    furnishings: Furnishings, cluster: FakeCluster, target: Target, status: int, reason: str
) -> None:
    def lose() -> None:
        cluster.leases.clear()
        refusal = ApiError("create leases", status, "exceeded quota: small", reason=reason)
        cluster.problems["create leases"] = [refusal] * 4

    keep_for(8 * lease.RENEW_SECONDS, furnishings, cluster, target, lose)
    assert LEASE in cluster.leases
    assert cluster.calls[-1] in ("patch leases", "create secrets")
    # Outside, the Lease owns the Secret: one that belonged to the old Lease would be deleted with it.
    [owner] = cluster.secrets[SECRET]["metadata"]["ownerReferences"]
    assert owner["uid"] == ("uid" if target is INSIDE else cluster.leases[LEASE]["metadata"]["uid"])


def test_a_session_whose_lease_is_refused_at_first_gets_one_later(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    cluster.problems["create leases"] = [ApiError("create leases", 403, "denied by a webhook", reason="Forbidden")]
    keep_for(2 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert LEASE in cluster.leases
    assert furnishings.target is not None
    assert furnishings.target.owner is not None


def test_a_session_without_the_right_to_leases_does_not_go_on_asking(
    furnishings: Furnishings, cluster: FakeCluster
) -> None:
    words = 'leases is forbidden: User "u" cannot create resource "leases"'
    cluster.problems["create leases"] = [ApiError("create leases", 403, words, reason="Forbidden")]
    keep_for(10 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert cluster.calls.count("create leases") == 1


def test_a_renewal_that_is_refused_is_tried_again_and_told_once(
    furnishings: Furnishings, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.problems["patch leases"] = [ApiError("patch leases", 403, "denied by a webhook", reason="Forbidden")] * 5
    keep_for(8 * lease.RENEW_SECONDS, furnishings, cluster, OUTSIDE)
    assert cluster.calls.count("patch leases") >= 7
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


# What a Pod waits for on its node.
