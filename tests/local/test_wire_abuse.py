"""What a worker process must outlive: too large messages, bytes that mean nothing, connections by the ten thousand.

The peers are raw sockets. After everything the worker still serves both ports, has not panicked, and has given back its
files and memory. Not covered: peers that vanish without a packet (loopback loses none), for which there are keepalives.
"""

from __future__ import annotations

import random
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import psutil
import pytest
from pyarrow import flight

from tests.local.wire_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GREETING,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    connect,
    frame,
    header_block,
    request_headers,
    reset,
    send_until_closed,
)
from tests.local.wire_peers import (
    FLIGHT_SERVICE,
    RIGHT,
    SECONDS,
    SERVICE,
    RealProcess,
    channel,
    flight_options,
    metadata,
    pb,
    raw_call,
    refusal,
    worker_process,
)

LIMIT_BYTES = 1 << 20
CONNECTIONS = 10_000
BATCH = 250
ADDRESSES = ["control", "data"]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealProcess]:
    with worker_process(tmp_path_factory.mktemp("worker"), max_message_bytes=str(LIMIT_BYTES)) as worker:
        assert serves(worker)
        yield worker


@pytest.fixture
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def serves(worker: RealProcess) -> bool:
    """Whether new connections to both ports are served, quickly."""
    started = time.monotonic()
    assert worker.health() == "SERVING"
    assert worker.handshake().slots == 1
    with worker.flight() as client, pytest.raises(KeyError, match=r"never/1\.1:0"):
        client.do_get(flight.Ticket(b"never/1.1:0"), flight_options()).read_all()
    return time.monotonic() - started < SECONDS / 2


def address_of(worker: RealProcess, port: str) -> str:
    return worker.control_address if port == "control" else worker.data_address


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


# ---------------------------------------------------------------------------------- too large messages


def test_a_control_request_over_the_limit_is_refused_and_its_connection_goes_on(worker: RealProcess) -> None:
    with worker.control() as stub:
        for size in (LIMIT_BYTES, 10 * LIMIT_BYTES, 60 * LIMIT_BYTES):
            plan = pb.Plan(hash=b"large", body=b"x" * size)
            request = pb.SubmitTaskRequest(plans=[plan])
            error = refusal(stub.SubmitTask, request, metadata=metadata(RIGHT), timeout=SECONDS)
            assert error.code() is grpc.StatusCode.OUT_OF_RANGE
            assert str(LIMIT_BYTES) in error.details()
            known = pb.EndQueryRequest(query_id="any")
            assert stub.EndQuery(known, metadata=metadata(RIGHT), timeout=SECONDS).instance_id
    just_fits = pb.Plan(hash=b"fits", body=b"x" * (LIMIT_BYTES - 100))
    assert worker.call(pb.SubmitTaskRequest(plans=[just_fits])).instance_id
    assert serves(worker)


@pytest.mark.parametrize(
    ("port", "path"),
    [("control", SERVICE + "SubmitTask"), ("data", FLIGHT_SERVICE + "DoGet"), ("data", FLIGHT_SERVICE + "DoPut")],
)
def test_a_message_that_announces_4_gib_is_refused_before_it_comes(worker: RealProcess, port: str, path: str) -> None:
    before = resident(worker)
    body = frame(DATA, b"\0\xff\xff\xff\xff" + b"x" * 1000, stream=1)
    with connect(address_of(worker, port)) as opened:
        opened.sendall(GREETING + request_headers(path) + body)
        read_answer(opened)
    assert serves(worker)
    assert resident(worker) - before < 100 << 20


def read_answer(opened: socket.socket) -> bytes:
    """Reads until a call has ended: its answer's last frame is of headers."""
    answer = b""
    while not has_frame(answer, HEADERS, END_STREAM):
        received = opened.recv(1 << 16)
        assert received, "closed without an answer"
        answer += received
    return answer


def has_frame(received: bytes, kind: int, flag: int) -> bool:
    while len(received) >= 9:
        length = int.from_bytes(received[:3], "big")
        if received[3] == kind and received[4] & flag and len(received) >= 9 + length:
            return True
        received = received[9 + length :]
    return False


@pytest.mark.parametrize("port", ADDRESSES)
def test_a_stranger_cannot_make_the_worker_keep_what_it_sends(worker: RealProcess, port: str) -> None:
    path = SERVICE + "SubmitTask" if port == "control" else FLIGHT_SERVICE + "DoPut"
    before = resident(worker)
    chunks = [bytes(1 << 20)] * 64
    error = refusal(raw_call, address_of(worker, port), path, *chunks, authorization="Bearer stranger")
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert serves(worker)
    assert until(lambda: resident(worker) - before < 100 << 20, 10)


# ---------------------------------------------------------------------------------------------- garbage


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def header_flood() -> bytes:
    """Headers that never end: 4 MiB of them in CONTINUATION frames."""
    field = header_block([(b"x-filler", b"y" * 120)])
    return GREETING + frame(HEADERS, field, stream=1) + frame(CONTINUATION, field * 120, stream=1) * 256


def rapid_reset() -> bytes:
    """Requests that are taken back as soon as they are made (CVE-2023-44487)."""
    path = "/no.such.Service/Call"
    pairs = (request_headers(path, stream=n) + frame(RST_STREAM, bytes(4), stream=n) for n in range(1, 20_001, 2))
    return GREETING + b"".join(pairs)


GARBAGE: dict[str, bytes] = {
    "HTTP/1 GET": b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n",
    "HTTP/1 POST": b"POST /daft_k8s.v1.Worker/Drain HTTP/1.1\r\nHost: worker\r\nContent-Length: 5\r\n\r\n12345",
    "HTTP/1 upgrade": b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "TLS": bytes.fromhex("16030100f8010000f40303") + noise(240),
    "line feeds": b"\r\n" * 1000,
    "zeros": bytes(100_000),
    "noise": noise(100_000),
    "preface with a wrong end": PREFACE[:-1] + b"!",
    "preface, then noise": PREFACE + noise(100_000),
    "preface, then a frame of 16 MiB": PREFACE + b"\xff\xff\xff" + noise(1000),
    "greeting, then noise": GREETING + noise(100_000),
    "data of no stream": GREETING + frame(DATA, b"x"),
    "data before headers": GREETING + frame(DATA, b"x", stream=1),
    "headers of the server's stream": GREETING + frame(HEADERS, b"", flags=END_HEADERS, stream=2),
    "broken HPACK": GREETING + frame(HEADERS, b"\xff" * 50, flags=END_HEADERS, stream=1),
    "interrupted headers": GREETING + frame(HEADERS, b"", stream=1) + frame(PING, bytes(8)),
    "window of nothing": GREETING + frame(WINDOW_UPDATE, bytes(4)),
    "window overflow": GREETING + frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1)) * 2,
    "settings of half a field": GREETING + frame(SETTINGS, bytes(5)),
    "ping of 7 bytes": GREETING + frame(PING, bytes(7)),
    "header flood": header_flood(),
    "rapid reset": rapid_reset(),
}


@pytest.mark.parametrize("port", ADDRESSES)
@pytest.mark.parametrize("name", GARBAGE)
def test_who_talks_nonsense_is_cut_off_and_the_others_are_served(worker: RealProcess, port: str, name: str) -> None:
    started = time.monotonic()
    answer = send_until_closed(address_of(worker, port), GARBAGE[name])
    assert time.monotonic() - started < SECONDS
    assert b"HTTP/1" not in answer
    assert serves(worker)


def test_a_strangers_call_is_refused_before_its_body_comes(worker: RealProcess) -> None:
    for port, path in (("control", SERVICE + "SubmitTask"), ("data", FLIGHT_SERVICE + "DoPut")):
        with connect(address_of(worker, port)) as opened:
            opened.sendall(GREETING + request_headers(path, authorization=None))
            read_answer(opened)


MALFORMED_CALLS: dict[str, bytes] = {
    "nothing": b"",
    "half a prefix": b"\0\0\0",
    "half a message": b"\0\0\0\0\x64half",
    "no protobuf": b"\0\0\0\0\x28" + b"\xff" * 40,
    "compressed": b"\1\0\0\0\x04gzip",
    "neither compressed nor not": b"\7\0\0\0\0",
    "two messages": b"\0\0\0\0\0" * 2,
}


@pytest.mark.parametrize("name", MALFORMED_CALLS)
@pytest.mark.parametrize(
    ("port", "path"),
    [("control", SERVICE + "SubmitTask"), ("data", FLIGHT_SERVICE + "DoGet"), ("data", FLIGHT_SERVICE + "DoPut")],
)
def test_a_malformed_call_with_the_token_is_answered_and_its_connection_lives_on(
    worker: RealProcess, port: str, path: str, name: str
) -> None:
    with connect(address_of(worker, port)) as opened:
        body = frame(DATA, MALFORMED_CALLS[name], flags=END_STREAM, stream=1)
        opened.sendall(GREETING + request_headers(path) + body)
        answer = read_answer(opened)
        opened.sendall(frame(SETTINGS, flags=1) + frame(PING, b"are you?"))
        while b"are you?" not in answer:
            received = opened.recv(1 << 16)
            assert received, "closed after the answer"
            answer += received
    assert serves(worker)


@pytest.mark.parametrize(
    ("port", "path", "code"),
    [
        ("control", SERVICE + "SubmitTask", grpc.StatusCode.INTERNAL),
        ("data", FLIGHT_SERVICE + "DoGet", grpc.StatusCode.INVALID_ARGUMENT),
        ("data", FLIGHT_SERVICE + "DoPut", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_no_protobuf_is_refused_in_words(
    worker: RealProcess, port: str, path: str, code: grpc.StatusCode
) -> None:
    error = refusal(raw_call, address_of(worker, port), path, b"\xff" * 40)
    assert error.code() is code
    assert "Protobuf" in error.details() or "FlightData" in error.details()


def test_a_peer_that_closes_its_half_is_taken_as_gone_even_in_the_midst_of_a_call(worker: RealProcess) -> None:
    """HTTP/2 has no use for half a connection: whether the answer still comes depends on who is faster."""
    before = open_files(worker)
    for port, path in (("control", SERVICE + "AwaitTask"), ("data", FLIGHT_SERVICE + "DoPut")):
        for body in (b"", frame(DATA, b"\0\0\0", stream=1), frame(DATA, bytes(5), flags=END_STREAM, stream=1)):
            with connect(address_of(worker, port)) as opened:
                opened.sendall(GREETING + request_headers(path) + body)
                opened.shutdown(socket.SHUT_WR)
                while opened.recv(1 << 16):
                    pass
    assert until(lambda: open_files(worker) <= before + 5, 10)
    assert serves(worker)


def test_calls_that_are_cut_off_at_any_byte_do_no_harm(worker: RealProcess) -> None:
    before = open_files(worker)
    for port, path in (("control", SERVICE + "EndQuery"), ("data", FLIGHT_SERVICE + "DoGet")):
        call = GREETING + request_headers(path) + frame(DATA, b"\0\0\0\0\x03\x0a\x01q", flags=END_STREAM, stream=1)
        for length in range(0, len(call), 3):
            opened = connect(address_of(worker, port))
            opened.sendall(call[:length])
            if length % 2:
                reset(opened)
            else:
                opened.close()
    assert serves(worker)
    assert until(lambda: open_files(worker) <= before + 5, 10)


# ------------------------------------------------------------------------------------------ connections


def resident(worker: RealProcess) -> int:
    return int(psutil.Process(worker.process.pid).memory_info().rss)


def open_files(worker: RealProcess) -> int:
    return int(psutil.Process(worker.process.pid).num_fds())


def abandon(opened: socket.socket, way: int) -> None:
    """Leaves a connection in one of five ways."""
    if way == 1:
        opened.sendall(PREFACE[:11])
    elif way == 2:
        opened.sendall(GREETING)
    elif way >= 3:
        opened.sendall(GREETING + request_headers(SERVICE + "AwaitTask"))
    if way in (2, 4):
        reset(opened)
    else:
        opened.close()


@pytest.mark.usefixtures("enough_files")
def test_ten_thousand_abandoned_connections_cost_nothing(worker: RealProcess) -> None:
    files, memory = open_files(worker), resident(worker)
    silent: list[socket.socket] = []
    for batch in range(CONNECTIONS // BATCH):
        address = address_of(worker, ADDRESSES[batch % 2])
        opened = [connect(address) for _ in range(BATCH)]
        silent += opened[:5]
        for number, connection in enumerate(opened[5:]):
            abandon(connection, number % 5)
        if batch % 10 == 0:
            assert serves(worker)
    assert serves(worker), "with hundreds of silent connections"
    # Who has never said a word is shown the door; our ends are open until then.
    for connection in silent:
        with connection:
            assert connection.recv(1) == b""
    assert until(lambda: open_files(worker) <= files + 5, 10), f"{files} files before, {open_files(worker)} after"
    grown = resident(worker) - memory
    assert grown < 64 << 20, f"{grown >> 20} MiB more than before"


@pytest.mark.usefixtures("enough_files")
def test_a_thousand_silent_connections_at_once_leave_room_for_others(worker: RealProcess) -> None:
    held = [connect(address_of(worker, port)) for port in ADDRESSES for _ in range(500)]
    greeted = held[::10]
    for connection in greeted:
        connection.sendall(GREETING)
    assert serves(worker)
    for connection in held:
        reset(connection)
    assert serves(worker)


def test_many_calls_on_one_connection_wait_their_turn(worker: RealProcess) -> None:
    with channel(worker.data_address) as opened:
        call = opened.unary_unary(FLIGHT_SERVICE + "ListFlights")
        named = {"metadata": metadata(RIGHT), "timeout": SECONDS}
        pending: list[Any] = [call.future(b"", **named) for _ in range(2000)]
        codes = {future.code() for future in pending}
    assert codes == {grpc.StatusCode.UNIMPLEMENTED}
    assert serves(worker)
