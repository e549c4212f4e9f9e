"""A worker, and peers of it that share no code with it: grpcio and pyarrow's Flight."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pyarrow import flight

from daft_k8s import _native
from daft_k8s.wire.worker_settings import WorkerSettings
from daft_k8s.worker.setup import WorkerSetup
from tests.protocol import worker_pb2 as pb
from tests.protocol import worker_pb2_grpc

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
"""Longer than anything here takes; what waits for ever fails."""
TOKEN = "correct-horse-battery"
RIGHT = f"Bearer {TOKEN}"
SESSION, WORKER = "session-1", "worker-0"
DAFT_VERSION, PYTHON_VERSION = "0.7.99", "3.99"
SERVICE = "/daft_k8s.v1.Worker/"
FLIGHT_SERVICE = "/arrow.flight.protocol.FlightService/"
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["Worker"].methods]
FLIGHT_METHODS = [
    "Handshake", "ListFlights", "GetFlightInfo", "PollFlightInfo", "GetSchema",
    "DoGet", "DoPut", "DoExchange", "DoAction", "ListActions",
]  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """The clients of the two servers at these addresses."""

    control_address: str
    data_address: str

    def call(self, request: Any, *, authorization: str | None = RIGHT, seconds: float = SECONDS) -> Any:
        """Makes the control call that takes this kind of request, on a connection of its own."""
        name = type(request).__name__.removesuffix("Request")
        with self.control() as stub:
            return getattr(stub, name)(request, metadata=metadata(authorization), timeout=seconds)

    @contextlib.contextmanager
    def control(self) -> Iterator[worker_pb2_grpc.WorkerStub]:
        with channel(self.control_address) as opened:
            yield worker_pb2_grpc.WorkerStub(opened)

    def health(self, service: str = "", *, authorization: str | None = RIGHT) -> str:
        """What the health service says of this name."""
        with channel(self.control_address) as opened:
            request = health_pb2.HealthCheckRequest(service=service)
            stub = health_pb2_grpc.HealthStub(opened)
            answer = stub.Check(request, metadata=metadata(authorization), timeout=SECONDS)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    @contextlib.contextmanager
    def flight(self) -> Iterator[flight.FlightClient]:
        with flight.connect(f"grpc://{self.data_address}") as client:
            yield client

    def handshake(self) -> pb.HandshakeReply:
        return self.call(handshake())


class InProcess(Peer):
    """A worker's servers in this process; the test takes the place of Daft."""

    def __init__(self, server: _native.WorkerServer, queues: dict[str, queue.Queue[Any]]) -> None:
        super().__init__(server.control_address, server.data_address)
        self.__dict__["server"] = server
        self.__dict__["queues"] = queues

    def next(self, kind: str) -> Any:
        """The next callback of a kind: "task", "cancel", "stop", "end_query"."""
        return self.queues[kind].get(timeout=SECONDS)

    def submit(self, *keys: str, **fields: Any) -> pb.SubmitTaskReply:
        tasks = [pb.Task(key=key, name="Project", plan_hash=b"h", **fields) for key in keys]
        return self.call(pb.SubmitTaskRequest(tasks=tasks, plans=[pb.Plan(hash=b"h", body=b"the plan")]))

    def publish(self, key: str, *tables: Any) -> list[str]:
        """Runs a task that has these tables as its outputs; returns their tickets."""
        assert not self.submit(key).bounced
        assert self.next("task").key == key
        self.keep_outputs()
        for table in tables:
            self.server.put_output(key, [table], table.num_rows, table.nbytes)
        self.server.finish_task(key, b"")
        self.await_end(key)
        return [f"{key}:{slot}" for slot in range(len(tables))]

    def keep_outputs(self) -> None:
        """Has tiny outputs kept at the worker from now on, as if the driver had no room for them."""
        # A version that was never given out is answered at once.
        self.call(pb.AwaitTaskRequest(after_version=1 << 40, inline_full=True))

    def await_end(self, key: str) -> pb.TaskEnd:
        """Polls from the beginning, acknowledging nothing, until this task has ended."""
        for _ in range(20):
            for end in self.call(pb.AwaitTaskRequest(after_version=0)).ended:
                if end.key == key:
                    return end
        raise AssertionError(f"{key} did not end")


@contextlib.contextmanager
def worker_in_process(directory: Path, **changes: Any) -> Iterator[InProcess]:
    """Serves until the end of the block; `changes` are fields of WorkerSettings."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    queues: dict[str, queue.Queue[Any]] = {
        name: queue.Queue() for name in ("task", "cancel", "stop", "end_query", "actor")
    }
    settings = {
        "session_id": SESSION,
        "worker_id": WORKER,
        "token": TOKEN,
        "host": "127.0.0.1",
        "control_port": 0,
        "data_port": 0,
        "cpus": 2,
        "memory_bytes": 8 << 30,  # this process is the test's: its own size must not matter
        "store_memory_share": 0.125,
        "spill_dir": str(directory / "spill"),
        "max_message_bytes": 1 << 20,
        "orphan_timeout_seconds": 600.0,
        **changes,
    }
    setup = WorkerSetup(
        settings=WorkerSettings(**settings),
        daft_version=DAFT_VERSION,
        python_version=PYTHON_VERSION,
        loop=loop,
        **{f"on_{name}": received.put for name, received in queues.items()},
    )
    server = _native.WorkerServer(setup)
    try:
        yield InProcess(server, queues)
    finally:
        server.shutdown()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


class RealProcess(Peer):
    """A worker process as the launcher starts it, with Daft."""

    def __init__(self, ready: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
        super().__init__(ready["control_address"], ready["data_address"])
        self.__dict__["process"] = process
        self.__dict__["log"] = log

    def handshake(self) -> pb.HandshakeReply:
        import daft

        python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return self.call(handshake(daft_version=daft.__version__, python_version=python_version))


@contextlib.contextmanager
def worker_process(directory: Path, *, max_files: int | None = None, **settings: str) -> Iterator[RealProcess]:
    """Runs a worker process; it must live until the end of the block, and must not have panicked.

    Args:
        directory: For its files and its log.
        max_files: How many files it may open; None: as many as this process.
        settings: Fields of WorkerSettings.
    """
    ready_read, ready_write = os.pipe()
    log = directory / "worker.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAFT_K8S_")}
    environment = {
        **kept,
        "PYTHONPATH": str(ROOT),
        "DAFT_ANALYTICS_ENABLED": "0",
        "DAFT_K8S_INTERNAL_TOKEN": TOKEN,
        "DAFT_K8S_INTERNAL_READY_FD": str(ready_write),
        "DAFT_K8S_INTERNAL_SESSION_ID": SESSION,
        "DAFT_K8S_INTERNAL_WORKER_ID": WORKER,
        "DAFT_K8S_INTERNAL_HOST": "127.0.0.1",
        "DAFT_K8S_INTERNAL_CONTROL_PORT": "0",
        "DAFT_K8S_INTERNAL_DATA_PORT": "0",
        "DAFT_K8S_INTERNAL_MEMORY_BYTES": str(1 << 30),
        "DAFT_K8S_INTERNAL_SPILL_DIR": str(directory / "spill"),
        **{f"DAFT_K8S_INTERNAL_{name.upper()}": value for name, value in settings.items()},
    }
    with open(log, "wb") as errors, os.fdopen(ready_read, "rb") as ready:
        command = [sys.executable, "-m", "daft_k8s.worker"]
        if max_files is not None:
            command = ["sh", "-c", f'ulimit -n {max_files}; exec "$0" "$@"', *command]
        process = subprocess.Popen(command, env=environment, pass_fds=(ready_write,), stdout=errors, stderr=errors)
        os.close(ready_write)
        try:
            yield RealProcess(_ready_line(ready, log), process, log)
            assert process.poll() is None, log.read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0, log.read_text()
        finally:
            process.kill()
            process.wait(SECONDS)
    assert "panicked" not in log.read_text()


def _ready_line(ready: IO[bytes], log: Path) -> dict[str, str]:
    line = ready.readline()  # ends with the process, if that fails to start
    assert line, log.read_text()
    decoded: dict[str, str] = json.loads(line)
    return decoded


# ------------------------------------------------------------------------------------------- gRPC


def metadata(authorization: str | None) -> list[tuple[str, str]]:
    return [] if authorization is None else [("authorization", authorization)]


def channel(address: str, files: Mapping[str, bytes] | None = None) -> grpc.Channel:
    """A connection of its own: grpcio would share one among channels of equal options.

    Args:
        address: Where to.
        files: Who calls, as `SessionCertificates` says it; with "ca.crt" alone: nobody. None: without TLS.
    """
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    if files is None:
        return grpc.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(files["ca.crt"], files.get("tls.key"), files.get("tls.crt"))
    named = [*options, ("grpc.ssl_target_name_override", "worker.daft-k8s.internal")]
    return grpc.secure_channel(address, credentials, options=named)


def raw_call(address: str, path: str, *messages: bytes, authorization: str | None = RIGHT) -> list[bytes]:
    """Any gRPC call with any bytes as its messages; returns the answer's messages."""
    with channel(address) as opened:
        call = opened.stream_stream(path)(iter(messages), metadata=metadata(authorization), timeout=SECONDS)
        return list(call)


def refusal(call: Callable[..., object], *arguments: Any, **named: Any) -> Any:
    """The error that a call must end in; has `code()` and `details()`."""
    try:
        answer = call(*arguments, **named)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"accepted: {answer!r}")


def handshake(**changes: Any) -> pb.HandshakeRequest:
    fields = {
        "protocol_version": _native.PROTOCOL_VERSION,
        "session_id": SESSION,
        "worker_id": WORKER,
        "daft_version": DAFT_VERSION,
        "python_version": PYTHON_VERSION,
    }
    return pb.HandshakeRequest(**{**fields, **changes})


def ticket_message(ticket: bytes) -> bytes:
    """Flight's `Ticket`, encoded by hand."""
    length, prefix = len(ticket), b"\x0a"
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + ticket


def flight_options(authorization: str | None = RIGHT) -> flight.FlightCallOptions:
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    return flight.FlightCallOptions(timeout=SECONDS, headers=headers)
