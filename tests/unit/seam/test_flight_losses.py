"""Errors of Daft's own shuffle: a lost worker's are told from the query's own. Real losses are in tests/chaos."""

from __future__ import annotations

import threading

import pytest
from daft.exceptions import DaftCoreException

from daft_k8s.errors import Loss, WorkerLostError
from daft_k8s.seam import flight_losses
from daft_k8s.seam.flight_losses import FlightLosses

BROKEN = DaftCoreException(
    "Failed to connect to endpoint: tonic::transport::Error(Transport, ConnectError(127.0.0.1:1, ConnectionRefused))"
)


def test_a_broken_read_after_a_loss_is_a_loss_of_inputs_that_names_worker_and_reason() -> None:
    losses = FlightLosses()
    before = losses.count
    losses.worker_lost("worker-1", "killed by signal 9")
    lost = losses.explain(BROKEN, since=before)
    assert isinstance(lost, WorkerLostError)
    assert lost.loss is Loss.INPUTS
    assert "worker-1: killed by signal 9" in str(lost)
    assert "ConnectionRefused" in str(lost)


def test_an_answer_that_came_while_a_worker_was_lost_is_refused() -> None:
    losses = FlightLosses()
    losses.worker_lost("worker-0", "in an earlier query")
    before = losses.count
    losses.ensure_none(since=before)
    losses.worker_lost("worker-1", "killed by signal 9")
    with pytest.raises(WorkerLostError, match=r"worker-1: killed by signal 9.*may lack rows") as caught:
        losses.ensure_none(since=before)
    assert caught.value.loss is Loss.INPUTS


def test_no_result_is_handed_out_after_a_loss_even_if_the_caller_stops_early() -> None:
    losses = FlightLosses()
    results = losses.checked(iter(["first", "second", "third"]), since=losses.count)
    assert next(results) == "first"
    losses.worker_lost("worker-1", "killed by signal 9")
    with pytest.raises(WorkerLostError, match="may lack rows"):
        next(results)


def test_a_loss_after_the_last_result_is_told_at_the_end() -> None:
    losses = FlightLosses()
    results = losses.checked(iter(["only"]), since=losses.count)
    assert next(results) == "only"
    losses.worker_lost("worker-1", "killed by signal 9")
    with pytest.raises(WorkerLostError, match="may lack rows"):
        next(results)


def test_news_of_a_death_that_comes_after_the_broken_read_is_waited_for() -> None:
    losses = FlightLosses()
    news = threading.Timer(0.05, losses.worker_lost, ["worker-0", "gone"])
    news.start()
    assert losses.explain(BROKEN, since=0) is not None
    news.join()


def test_a_broken_read_without_a_loss_in_this_query_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_losses, "VERDICT_SECONDS", 0.01)
    losses = FlightLosses()
    losses.worker_lost("worker-0", "in an earlier query")
    assert losses.explain(BROKEN, since=losses.count) is None


@pytest.mark.parametrize(
    "error", [ValueError("tonic:: in a user's text"), DaftCoreException("DaftError::External file.parquet")]
)
def test_an_error_of_the_query_itself_is_never_taken_for_a_loss(error: Exception) -> None:
    losses = FlightLosses()
    losses.worker_lost("worker-0", "gone")
    assert losses.explain(error, since=0) is None
