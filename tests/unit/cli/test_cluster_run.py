"""`daft-k8s run` on a cluster in memory that is ended by a signal. Real runs: tests/integration/test_cli.py."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from daft_k8s.cli import cluster_run, exit_codes
from daft_k8s.config import load
from daft_k8s.jobs.driver_job import DriverJob
from tests.unit.cli.test_shell import Cluster


class FollowedCluster(Cluster):
    """One whose driver logs a line and runs on."""

    async def lines(self, path: str, **_query: str) -> AsyncGenerator[str, None]:
        yield "a line"
        await self.strike("log")


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> signal.Signals:
    found: signal.Signals = request.param
    return found


@pytest.fixture
def ignored_sighup() -> Iterator[None]:
    """As `nohup` starts a program."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *, detach: bool = False) -> int:
    monkeypatch.setenv("AWS_REGION", "eu")
    monkeypatch.setattr(cluster_run, "Console", lambda **_where: cluster)
    job = DriverJob(name="x", script="", arguments=(), service_account="daft-driver")
    configuration = load({"allocation": "pod", "image": "x:1", "pass_env": ["AWS_REGION"]})
    return cluster_run.run_on_cluster(job, configuration, detach=detach, keep=True)


@pytest.mark.parametrize(("moment", "created"), [("account", 0), ("job", 1), ("secret", 1), ("start", 1), ("log", 1)])
def test_a_signal_at_any_time_removes_the_job(
    moment: str, created: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FollowedCluster(moment, number)
    assert run(cluster, monkeypatch) == exit_codes.INTERRUPTED
    assert (cluster.created, cluster.jobs) == (created, 0)


def test_ctrl_c_counts_although_the_background_of_a_shell_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster = FollowedCluster("log", signal.SIGINT)
    assert run(cluster, monkeypatch) == exit_codes.INTERRUPTED
    assert (cluster.created, cluster.jobs) == (1, 0)


@pytest.mark.usefixtures("ignored_sighup")
def test_sighup_stays_ignored_under_nohup(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FollowedCluster("job", signal.SIGHUP)
    assert run(cluster, monkeypatch, detach=True) == 0
    assert (cluster.created, cluster.jobs) == (1, 1)


def test_handlers_are_as_before(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    before: Any = signal.getsignal(number)
    run(FollowedCluster("account", number), monkeypatch)
    assert signal.getsignal(number) is before
