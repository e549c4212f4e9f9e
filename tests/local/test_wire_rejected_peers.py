"""A peer without certificate or token costs a worker process little: memory, CPU, files, lines of the log.

The peers are raw sockets, against a worker whose ports are not encrypted: with TLS they would not get as far. Not
covered: bytes that mean nothing, and members that misbehave (test_wire_abuse).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from tests.local.test_wire_abuse import enough_files, open_files, resident, serves
from tests.local.wire_frames import (
    DATA,
    GREETING,
    PING,
    SETTINGS,
    connect,
    frame,
    request_headers,
)
from tests.local.wire_peers import SECONDS, RealProcess, raw_call, refusal, worker_process

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
FLOOD_FRAMES = 1_000_000
GREETED_SECONDS = 10
"""The longest life of a connection without a call of a member."""
OPEN_FILES = 400
PORTS = ["control", "data", "health"]

__all__ = ["enough_files"]
"""A fixture."""


@pytest.fixture(scope="module")
def health_address() -> str:
    """An address that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, health_address: str) -> Iterator[RealProcess]:
    port = health_address.rpartition(":")[2]
    directory = tmp_path_factory.mktemp("worker")
    with worker_process(directory, health_port=port, orphan_timeout_seconds="600") as worker:
        assert serves(worker)
        yield worker


@pytest.fixture(scope="module")
def addresses(worker: RealProcess, health_address: str) -> dict[str, str]:
    """The ports of our own servers."""
    return {"control": worker.control_address, "data": worker.data_address, "health": health_address}


def seconds_until_closed(opened: socket.socket) -> float:
    """Answers pings until the worker closes the connection, which it must."""
    started = time.monotonic()
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := opened.recv(1 << 16):
            received += chunk
            while len(received) >= 9 and len(received) >= 9 + (length := int.from_bytes(received[:3], "big")):
                if received[3] == PING and not received[4] & 1:
                    opened.sendall(frame(PING, received[9 : 9 + length], flags=1))
                received = received[9 + length :]
    return time.monotonic() - started


# ---------------------------------------------------------------------------------------------- health


def test_unfinished_messages_for_health_cost_no_memory(worker: RealProcess, addresses: dict[str, str]) -> None:
    for port, address in addresses.items():
        before = resident(worker)
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                opened = stack.enter_context(connect(address))
                opened.settimeout(1)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    # 64 calls, each of which announces 4 MiB and sends all but the last byte.
                    opened.sendall(GREETING)
                    for stream in range(1, 129, 2):
                        headers = request_headers(HEALTH_CHECK, stream=stream, authorization=None)
                        announced = b"\0" + struct.pack(">I", 4 << 20)
                        opened.sendall(headers + frame(DATA, announced, stream=stream))
                    for _ in range(16):
                        for stream in range(1, 129, 2):
                            opened.sendall(frame(DATA, bytes(16 << 10), stream=stream))
            grown = resident(worker) - before
        assert grown < 8 << 20, f"{port}: {grown >> 20} MiB"
    assert serves(worker)


def test_health_takes_small_messages_only(health_address: str) -> None:
    error = refusal(raw_call, health_address, HEALTH_CHECK, bytes(2000), authorization=None)
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE


def test_the_orders_port_tells_its_health_to_members_alone(worker: RealProcess) -> None:
    for authorization in (None, "Bearer somebody-else"):
        error = refusal(raw_call, worker.control_address, HEALTH_CHECK, b"", authorization=authorization)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert raw_call(worker.control_address, HEALTH_CHECK, b"") == [b"\x08\x01"]


# ----------------------------------------------------------------------------------------- connections


def test_a_connection_that_greets_and_only_answers_pings_is_cut_off(addresses: dict[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(address)) for address in addresses.values()]
        for connection in opened:
            connection.sendall(GREETING)
            connection.settimeout(2 * GREETED_SECONDS)
        for connection in opened:
            assert seconds_until_closed(connection) < GREETED_SECONDS + 2


@pytest.mark.usefixtures("enough_files")
def test_connections_of_one_rejected_peer_leave_the_worker_its_files(tmp_path: Path) -> None:
    """The peer opens as many on either port as the worker may have files."""
    with worker_process(tmp_path, max_files=OPEN_FILES) as worker, contextlib.ExitStack() as stack:
        before = open_files(worker)
        for address in (worker.control_address, worker.data_address):
            for _ in range(OPEN_FILES):
                opened = stack.enter_context(connect(address))
                with contextlib.suppress(ConnectionError):
                    opened.sendall(GREETING)
        assert serves(worker)
        assert open_files(worker) - before < OPEN_FILES // 2


# ----------------------------------------------------------------------------------------------- floods


FLOODS = {"pings": frame(PING, bytes(8)), "settings": frame(SETTINGS)}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_control_frames_is_cut_off(
    worker: RealProcess, addresses: dict[str, str], port: str, kind: str
) -> None:
    process = psutil.Process(worker.process.pid)
    before = process.cpu_times()
    sent = 0
    part = FLOODS[kind] * 1000
    with connect(addresses[port]) as opened:
        opened.setblocking(False)
        opened.sendall(GREETING)
        with contextlib.suppress(ConnectionError):
            while sent < FLOOD_FRAMES * len(FLOODS[kind]):
                readable, writable, _ = select.select([opened], [opened], [], SECONDS)
                assert readable or writable
                if readable and not opened.recv(1 << 20):
                    break
                if writable:
                    sent += opened.send(part)
    after = process.cpu_times()
    assert sent < FLOOD_FRAMES * len(FLOODS[kind]), "the flood was taken to its end"
    assert after.user + after.system - before.user - before.system < 1.0
    assert serves(worker)
