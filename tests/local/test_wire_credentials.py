"""The callers that a worker answers: the token on every call of both ports, health, the handshake.

The peers are grpcio and pyarrow's Flight client. Not covered: encryption, which is the network's business.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from pyarrow import flight

from daft_k8s import _native
from tests.local.wire_peers import (
    DAFT_VERSION,
    FLIGHT_METHODS,
    FLIGHT_SERVICE,
    METHODS,
    PYTHON_VERSION,
    RIGHT,
    SECONDS,
    SERVICE,
    SESSION,
    TOKEN,
    WORKER,
    InProcess,
    flight_options,
    handshake,
    metadata,
    pb,
    raw_call,
    refusal,
    worker_in_process,
)

TABLE = pa.table({"x": [1, 2, 3]})
WRONG = {
    "none": None,
    "empty": "",
    "no-token": "Bearer",
    "blank-token": "Bearer ",
    "wrong": "Bearer somebody-else",
    "too-short": RIGHT[:-1],
    "too-long": RIGHT + "x",
    "upper-case": f"Bearer {TOKEN.upper()}",
    "other-scheme": f"Basic {TOKEN}",
    "no-scheme": TOKEN,
    "twice": f"{RIGHT}, {RIGHT}",
    "two-blanks": f"Bearer  {TOKEN}",
    "huge": "Bearer " + "x" * 6000,
}
each_wrong_token = pytest.mark.parametrize("authorization", WRONG.values(), ids=WRONG)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with worker_in_process(tmp_path_factory.mktemp("worker")) as worker:
        worker.publish("q/1.1", TABLE)
        yield worker


@each_wrong_token
@pytest.mark.parametrize("method", [*METHODS, "NoSuchCall"])
def test_no_control_call_is_answered_without_the_token(
    worker: InProcess, method: str, authorization: str | None
) -> None:
    error = refusal(raw_call, worker.control_address, SERVICE + method, b"", authorization=authorization)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert TOKEN not in error.details()


@each_wrong_token
@pytest.mark.parametrize("method", [*FLIGHT_METHODS, "NoSuchCall"])
def test_no_data_call_is_answered_without_the_token(worker: InProcess, method: str, authorization: str | None) -> None:
    error = refusal(raw_call, worker.data_address, FLIGHT_SERVICE + method, b"", authorization=authorization)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert TOKEN not in error.details()


def test_a_data_call_that_names_another_worker_is_refused_and_nothing_is_stored(worker: InProcess) -> None:
    named = flight.FlightCallOptions(
        timeout=SECONDS, headers=[(b"authorization", RIGHT.encode()), (b"daft-k8s-worker", b"worker-7")]
    )
    with worker.flight() as client:
        with pytest.raises(pa.ArrowException, match="worker-7"):
            client.do_get(flight.Ticket(b"q/1.1:0"), named).read_all()
        with pytest.raises(pa.ArrowException, match="worker-7"):
            writer, _ = client.do_put(flight.FlightDescriptor.for_path("misled/1.1:0"), TABLE.schema, named)
            with writer:
                writer.write_table(TABLE)
                writer.done_writing()
        with pytest.raises(KeyError, match=r"misled/1\.1:0"):
            client.do_get(flight.Ticket(b"misled/1.1:0"), flight_options()).read_all()


@pytest.mark.parametrize("authorization", [None, "Bearer somebody-else"], ids=["none", "wrong"])
def test_pyarrow_gets_and_puts_nothing_without_the_token(worker: InProcess, authorization: str | None) -> None:
    options = flight_options(authorization)
    with worker.flight() as client:
        with pytest.raises(flight.FlightUnauthenticatedError):
            client.do_get(flight.Ticket(b"q/1.1:0"), options).read_all()
        descriptor = flight.FlightDescriptor.for_path("stolen/1.1:0")
        with pytest.raises(flight.FlightUnauthenticatedError):
            writer, _ = client.do_put(descriptor, TABLE.schema, options)
            with writer:
                writer.write_table(TABLE)
                writer.done_writing()
        with pytest.raises(flight.FlightUnauthenticatedError):
            list(client.list_flights(options=options))
        with pytest.raises(flight.FlightUnauthenticatedError):
            list(client.do_action(flight.Action("anything", b""), options))
        with pytest.raises(KeyError, match=r"stolen/1\.1:0"):
            client.do_get(flight.Ticket(b"stolen/1.1:0"), flight_options()).read_all()


def test_what_a_rejected_peer_asks_for_does_not_happen(worker: InProcess) -> None:
    requests = [
        pb.SubmitTaskRequest(tasks=[pb.Task(key="s/1.1", plan_hash=b"h")], plans=[pb.Plan(hash=b"h", body=b"p")]),
        pb.DropPartitionsRequest(tickets=["q/1.1:0"]),
        pb.EndQueryRequest(query_id="q"),
        pb.DrainRequest(reason="a rejected peer"),
    ]
    for request in requests:
        error = refusal(worker.call, request, authorization="Bearer somebody-else")
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    with worker.flight() as client:
        assert client.do_get(flight.Ticket(b"q/1.1:0"), flight_options()).read_all() == TABLE
    assert all(received.empty() for received in worker.queues.values())


def test_rejected_peers_do_not_keep_a_worker_alive_whose_driver_is_gone(tmp_path: Path) -> None:
    with worker_in_process(tmp_path, orphan_timeout_seconds=0.5) as worker:
        end = time.monotonic() + SECONDS
        while worker.queues["stop"].empty():
            assert time.monotonic() < end, "the worker took a rejected peer for its driver"
            refusal(worker.call, handshake(), authorization=None)
            refusal(worker.call, handshake(session_id="session-2"))
            worker.health()
        assert "the driver has not called for" in worker.next("stop")


def test_a_worker_without_a_token_of_its_own_lets_nobody_in(tmp_path: Path) -> None:
    with worker_in_process(tmp_path, token="") as worker:
        for authorization in (None, "", "Bearer", "Bearer "):
            for address, path in (
                (worker.control_address, f"{SERVICE}EndQuery"),
                (worker.data_address, f"{FLIGHT_SERVICE}DoGet"),
            ):
                error = refusal(raw_call, address, path, b"", authorization=authorization)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED, (path, authorization)


def test_health_follows_the_workers_state(tmp_path: Path) -> None:
    with worker_in_process(tmp_path) as worker:
        names = ["", "daft_k8s.v1.Worker"]
        assert [worker.health(name) for name in names] == ["NOT_SERVING"] * 2
        worker.server.set_serving()
        assert [worker.health(name) for name in names] == ["SERVING"] * 2
        assert refusal(worker.health, "another.Service").code() is grpc.StatusCode.NOT_FOUND
        worker.server.begin_drain()
        end = time.monotonic() + SECONDS
        while worker.health() != "NOT_SERVING":
            assert time.monotonic() < end


def test_the_right_token_opens_exactly_what_is_there(worker: InProcess) -> None:
    assert refusal(raw_call, worker.control_address, SERVICE + "NoSuchCall", b"").code() is (
        grpc.StatusCode.UNIMPLEMENTED
    )
    for method in set(FLIGHT_METHODS) - {"DoGet", "DoPut"}:
        error = refusal(raw_call, worker.data_address, FLIGHT_SERVICE + method, b"")
        assert (error.code(), method in error.details()) == (grpc.StatusCode.UNIMPLEMENTED, True)


def test_a_handshake_that_fits_tells_who_answers(worker: InProcess) -> None:
    reply = worker.handshake()
    assert reply == pb.HandshakeReply(
        instance_id=worker.server.instance_id,
        protocol_version=_native.PROTOCOL_VERSION,
        daft_version=DAFT_VERSION,
        python_version=PYTHON_VERSION,
        slots=2,
        memory_bytes=8 << 30,
    )


@pytest.mark.parametrize(
    ("field", "theirs", "ours"),
    [
        ("protocol_version", _native.PROTOCOL_VERSION + 1, _native.PROTOCOL_VERSION),
        ("protocol_version", 0, _native.PROTOCOL_VERSION),
        ("daft_version", "0.7.98", DAFT_VERSION),
        ("daft_version", "", DAFT_VERSION),
        ("python_version", "3.9", PYTHON_VERSION),
        ("session_id", "session-2", SESSION),
        ("worker_id", "worker-7", WORKER),
    ],
)
def test_a_handshake_that_does_not_fit_is_refused_and_names_both_sides(
    worker: InProcess, field: str, theirs: object, ours: object
) -> None:
    error = refusal(worker.call, handshake(**{field: theirs}))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    if field.endswith("_version"):
        assert f"is {theirs} in the driver and {ours} in the worker" in error.details()
    else:
        assert str(theirs) in error.details()
        assert str(ours) in error.details()


def test_a_handshake_names_every_difference_at_once(worker: InProcess) -> None:
    error = refusal(worker.call, handshake(protocol_version=77, daft_version="1.0", python_version="2.7"))
    assert [word in error.details() for word in ("77", "1.0", "2.7", DAFT_VERSION, PYTHON_VERSION)] == [True] * 5


def test_one_connection_may_carry_right_and_wrong_tokens(worker: InProcess) -> None:
    with worker.control() as stub:
        for authorization in (RIGHT, "Bearer somebody-else", RIGHT, None, RIGHT):
            named = {"metadata": metadata(authorization), "timeout": SECONDS}
            if authorization == RIGHT:
                assert stub.Handshake(handshake(), **named).instance_id == worker.server.instance_id
            else:
                assert refusal(stub.Handshake, handshake(), **named).code() is grpc.StatusCode.UNAUTHENTICATED
