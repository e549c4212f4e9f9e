"""Who gets a connection to a worker over TLS; grpcio and pyarrow's Flight client, which share no code with it, try.

Not covered: what a peer with the right certificate may do (test_wire_credentials and the other test_wire files).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pyarrow import flight

from daft_k8s import _native
from tests.local.wire_peers import (
    METHODS,
    RIGHT,
    SECONDS,
    SERVICE,
    SESSION,
    TOKEN,
    channel,
    flight_options,
    handshake,
    metadata,
    refusal,
    worker_in_process,
)
from tests.protocol import worker_pb2_grpc

TABLE = pa.table({"x": range(100_000)})
TICKET = "q/1.1:0"
Files = Mapping[str, bytes]


class Encrypted:
    """A worker with certificates, the session's and another session's, and what it has logged."""

    def __init__(self, server: _native.WorkerServer, session: _native.SessionCertificates, log: list[str]) -> None:
        self.server = server
        self.driver: Files = session.driver_files
        self.worker: Files = session.worker_files
        self.nobody: Files = {"ca.crt": session.driver_files["ca.crt"]}
        other = _native.SessionCertificates(SESSION)
        # They know whom they talk to; they only cannot prove who they are.
        self.other_driver: Files = {**other.driver_files, **self.nobody}
        self.other_worker: Files = {**other.worker_files, **self.nobody}
        self.log = log

    def handshake(self, files: Files | None, authorization: str | None = RIGHT) -> Any:
        with channel(self.server.control_address, files) as opened:
            stub = worker_pb2_grpc.WorkerStub(opened)
            return stub.Handshake(handshake(), metadata=metadata(authorization), timeout=SECONDS)

    @contextlib.contextmanager
    def flight(self, files: Files) -> Iterator[flight.FlightClient]:
        options: dict[str, Any] = {"tls_root_certs": files["ca.crt"], "override_hostname": "worker.daft-k8s.internal"}
        if "tls.crt" in files:
            options |= {"cert_chain": files["tls.crt"], "private_key": files["tls.key"]}
        with flight.connect(f"grpc+tls://{self.server.data_address}", **options) as client:
            yield client

    def fetch(self, files: Files, authorization: str | None = RIGHT) -> pa.Table:
        with self.flight(files) as client:
            return client.do_get(flight.Ticket(TICKET.encode()), flight_options(authorization)).read_all()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    session = _native.SessionCertificates(SESSION)
    folder = tmp_path_factory.mktemp("certificates")
    for name, content in session.worker_files.items():
        (folder / name).write_bytes(content)
    log: list[str] = []
    directory = tmp_path_factory.mktemp("worker")
    logger = logging.Logger("tls")
    logger.addFilter(lambda record: log.append(record.getMessage()))
    _native.log_to(logger)
    with worker_in_process(directory, tls_dir=str(folder), health_port=0) as inside:
        encrypted = Encrypted(inside.server, session, log)
        with encrypted.flight(encrypted.driver) as client:
            descriptor = flight.FlightDescriptor.for_path(TICKET)
            writer, _ = client.do_put(descriptor, TABLE.schema, flight_options())
            with writer:
                writer.write_table(TABLE)
                writer.done_writing()
        yield encrypted


def test_the_driver_gives_orders_and_every_member_fetches(worker: Encrypted) -> None:
    assert worker.handshake(worker.driver).instance_id == worker.server.instance_id
    assert worker.fetch(worker.driver) == TABLE
    assert worker.fetch(worker.worker) == TABLE


def test_a_worker_may_call_actors_of_another_and_give_no_orders(worker: Encrypted) -> None:
    assert worker.server.control_address
    with channel(worker.server.control_address, worker.worker) as opened:
        for method in set(METHODS) - {"CallActor"}:
            call = opened.stream_stream(SERVICE + method)
            error = refusal(lambda call=call: list(call(iter([b""]), metadata=metadata(RIGHT), timeout=SECONDS)))
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, method
        call = opened.stream_stream(SERVICE + "CallActor")
        error = refusal(lambda: list(call(iter([]), metadata=metadata(RIGHT), timeout=SECONDS)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, "it was heard: a call has to name its actor"


@pytest.mark.parametrize("caller", ["nobody", "other_driver", "other_worker"])
def test_only_members_of_the_session_get_a_connection_for_orders(worker: Encrypted, caller: str) -> None:
    error = refusal(worker.handshake, getattr(worker, caller))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("caller", ["nobody", "other_driver", "other_worker"])
def test_only_members_of_the_session_get_a_connection_for_data(worker: Encrypted, caller: str) -> None:
    with pytest.raises(flight.FlightUnavailableError):
        worker.fetch(getattr(worker, caller))


def test_the_token_without_tls_opens_nothing(worker: Encrypted) -> None:
    assert refusal(worker.handshake, None).code() is grpc.StatusCode.UNAVAILABLE
    with flight.connect(f"grpc://{worker.server.data_address}") as client, pytest.raises(flight.FlightUnavailableError):
        client.do_get(flight.Ticket(TICKET.encode()), flight_options()).read_all()


@pytest.mark.parametrize("authorization", [None, "Bearer somebody-else"], ids=["none", "wrong"])
def test_the_right_certificate_does_not_replace_the_token(worker: Encrypted, authorization: str | None) -> None:
    error = refusal(worker.handshake, worker.driver, authorization)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    for member in (worker.driver, worker.worker):
        with pytest.raises(flight.FlightUnauthenticatedError):
            worker.fetch(member, authorization)


def test_a_peer_finds_out_that_it_is_not_the_worker_it_looks_for(worker: Encrypted) -> None:
    other = _native.SessionCertificates(SESSION).driver_files
    assert refusal(worker.handshake, other).code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(flight.FlightUnavailableError):
        worker.fetch(other)


def test_the_port_for_probes_answers_health_and_nothing_else(worker: Encrypted) -> None:
    assert worker.server.health_address is not None
    with channel(worker.server.health_address) as opened:
        answer = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = worker_pb2_grpc.WorkerStub(opened)
        error = refusal(stub.Handshake, handshake(), metadata=metadata(RIGHT), timeout=SECONDS)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_rejected_peers_are_logged_once_a_minute_and_no_secret_is_in_the_log(worker: Encrypted) -> None:
    for _ in range(5):
        refusal(worker.handshake, worker.other_driver)
    assert _native.flush_log(SECONDS)
    lines = [line for line in worker.log if "rejected peer" in line]
    assert len(lines) == 1, "one line a minute"
    assert TOKEN not in str(worker.log)
    assert "PRIVATE KEY" not in str(worker.log)


def test_a_worker_without_its_certificates_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*ca\.crt"), worker_in_process(tmp_path, tls_dir=str(tmp_path)):
        pass
