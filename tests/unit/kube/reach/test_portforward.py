"""Listeners on this machine, with streams in memory behind them. Real Pods: tests/integration/test_outside.py."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.reach import portforward
from daft_k8s.kube.reach.portforward import PortForwards

SECONDS = 20
BROKEN = ApiError("get pods/portforward", 0, "the connection to the API server broke")


class FakeStream:
    """Sends back what it gets; `END` from the client ends it, `BREAK` breaks it."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[bytes | ApiError] = asyncio.Queue()
        self.closed = False

    async def receive(self) -> memoryview:
        answer = await self._answers.get()
        if isinstance(answer, ApiError):
            raise answer
        return memoryview(answer)

    async def send(self, content: bytes) -> None:
        self._answers.put_nowait({b"END": b"", b"BREAK": BROKEN}.get(content, content))

    async def close(self) -> None:
        self.closed = True


class Fountain(FakeStream):
    """A Pod that never stops sending."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_bytes = 0

    async def receive(self) -> memoryview:
        await asyncio.sleep(0)
        self.sent_bytes += 2**16
        return memoryview(bytes(2**16))


class FakeApi:
    """Opens streams, and refuses as often as it is told."""

    def __init__(self, make: Callable[[], FakeStream] = FakeStream) -> None:
        self._make = make
        self._changed = threading.Condition()
        self.problems: list[ApiError] = []
        self.asked: list[tuple[str, str, int]] = []
        self.streams: list[FakeStream] = []
        self.away = False
        self.questions = 0
        self.closed = False

    async def open_port(self, namespace: str, pod: str, port: int) -> FakeStream:
        with self._changed:
            self.asked.append((namespace, pod, port))
            self._changed.notify_all()
            if self.problems:
                raise self.problems.pop(0)
            self.streams.append(self._make())
            return self.streams[-1]

    async def answers(self) -> bool:
        with self._changed:
            self.questions += 1
            self._changed.notify_all()
        return not self.away

    async def close(self) -> None:
        self.closed = True

    def wait_until(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, SECONDS), (self.asked, self.questions)

    def wait_for_asked(self, count: int) -> None:
        self.wait_until(lambda: len(self.asked) >= count)

    def wait_for_questions(self, count: int) -> None:
        """Until it was asked so often whether the API server answers."""
        self.wait_until(lambda: self.questions >= count)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def forwards(api: FakeApi) -> Iterator[PortForwards]:
    async def connect() -> FakeApi:
        return api

    forwards = PortForwards(connect)
    yield forwards
    forwards.shutdown(10)


def open_one(forwards: PortForwards, pod: str = "p", node: str = "") -> str:
    [address] = asyncio.run(forwards.open(f"the way to {pod}", namespace="jobs", pod=pod, node=node, ports=(7777,)))
    return address


def connect(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    connection = socket.create_connection((host, int(port)), timeout=SECONDS)
    connection.settimeout(SECONDS)
    return connection


def exchange(connection: socket.socket, content: bytes) -> bytes:
    connection.sendall(content)
    return connection.recv(2**16)


def is_cut(connection: socket.socket) -> bool:
    """Whether it ends, and not as an orderly connection does."""
    try:
        connection.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_cut_at_once(address: str) -> bool:
    try:
        with connect(address) as connection:
            return is_cut(connection)
    except ConnectionResetError:  # faster than the client could look
        return True


def test_bytes_pass_both_ways_and_each_connection_has_a_stream(api: FakeApi, forwards: PortForwards) -> None:
    control, data = asyncio.run(forwards.open("w", namespace="jobs", pod="p", node="n", ports=(7777, 7778)))
    assert control.startswith("127.0.0.1:")
    with connect(control) as one, connect(data) as other:
        assert exchange(one, b"control") == b"control"
        assert exchange(other, b"data") == b"data"
    assert api.asked == [("jobs", "p", 7777), ("jobs", "p", 7777), ("jobs", "p", 7778)]


def test_what_the_pod_ends_ends_in_order(forwards: PortForwards) -> None:
    with connect(open_one(forwards)) as connection:
        assert exchange(connection, b"END") == b""


@pytest.mark.parametrize(("start_seconds", "told"), [(60.0, False), (0.0, True)])
def test_a_stream_that_fails_is_told_unless_the_process_in_the_pod_may_be_about_to_listen(
    forwards: PortForwards,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    start_seconds: float,
    told: bool,
) -> None:
    monkeypatch.setattr(portforward, "_START_SECONDS", start_seconds)
    with connect(open_one(forwards)) as connection:
        connection.sendall(b"BREAK")
        assert is_cut(connection)
    words = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [BROKEN.message in word for word in words] == [True] * told


def test_a_broken_stream_ends_its_own_connection_only_and_the_next_gets_a_new_one(
    api: FakeApi, forwards: PortForwards
) -> None:
    address = open_one(forwards)
    with connect(address) as one, connect(address) as other:
        assert exchange(one, b"a") == exchange(other, b"a") == b"a"
        one.sendall(b"BREAK")
        assert is_cut(one)
        assert exchange(other, b"still here") == b"still here"
    with connect(address) as next_one:
        assert exchange(next_one, b"again") == b"again"
    assert len(api.streams) == 4  # with the first, which showed that it works


def test_a_connection_waits_for_an_api_server_that_is_away(api: FakeApi, forwards: PortForwards) -> None:
    address = open_one(forwards)
    api.problems = [BROKEN, ApiError("get pods/portforward", 503, "no leader")]
    with connect(address) as connection:
        assert exchange(connection, b"patient") == b"patient"


def test_credentials_that_are_refused_for_a_moment_cost_no_connection(api: FakeApi, forwards: PortForwards) -> None:
    address = open_one(forwards)
    api.problems = [ApiError("get pods/portforward", 401, "Unauthorized")] * 2
    with connect(address) as connection:
        assert exchange(connection, b"patient") == b"patient"


def test_a_connection_does_not_wait_for_ever(
    api: FakeApi, forwards: PortForwards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portforward, "_DIAL_SECONDS", 0.5)
    address = open_one(forwards)
    api.problems = [BROKEN] * 100
    assert is_cut_at_once(address)


def test_the_way_to_a_pod_that_is_gone_is_closed(api: FakeApi, forwards: PortForwards) -> None:
    address = open_one(forwards)
    api.problems = [ApiError("get pods/portforward", 404, 'pods "p" not found')]
    assert is_cut_at_once(address)
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_a_missing_right_is_told_when_the_way_is_opened(api: FakeApi, forwards: PortForwards) -> None:
    api.problems = [ApiError("get pods/portforward", 403, 'User "u" cannot get resource "pods/portforward"')]
    with pytest.raises(ApiError, match="cannot get resource"):
        open_one(forwards)


def test_closing_cuts_the_connections_of_one_pod_only(forwards: PortForwards) -> None:
    one, other = open_one(forwards, "p"), open_one(forwards, "q")
    with connect(one) as first, connect(other) as second:
        assert exchange(first, b"a") == exchange(second, b"a") == b"a"
        forwards.close("the way to p")
        assert is_cut(first)
        assert exchange(second, b"b") == b"b"
    with pytest.raises(ConnectionRefusedError):
        connect(one)


def test_a_client_that_does_not_read_holds_its_pod_back() -> None:
    api = FakeApi(Fountain)

    async def connect_api() -> FakeApi:
        return api

    forwards = PortForwards(connect_api)
    try:
        with connect(open_one(forwards)) as connection:
            api.wait_for_asked(2)
            connection.recv(1)
            fountain = api.streams[-1]
            assert isinstance(fountain, Fountain)
            before = -1
            while fountain.sent_bytes != before:  # it stops by itself, or the test's time is over
                before = fountain.sent_bytes
                threading.Event().wait(0.2)
            assert before < 2**25
            taken = 0
            while taken < 2**25:  # and goes on when the client reads
                taken += len(connection.recv(2**20))
    finally:
        forwards.shutdown(10)


def test_shutting_down_cuts_everything_and_closes_the_connection_to_the_cluster(
    api: FakeApi, forwards: PortForwards
) -> None:
    with connect(open_one(forwards)) as connection:
        assert exchange(connection, b"a") == b"a"
        forwards.shutdown(10)
        assert is_cut(connection)
    assert all(stream.closed for stream in api.streams)
    assert api.closed
    forwards.shutdown(10)


def test_a_way_that_is_being_opened_does_not_hold_up_the_end(api: FakeApi, forwards: PortForwards) -> None:
    api.problems = [BROKEN] * 100
    ended: list[BaseException] = []

    def begin() -> None:
        try:
            open_one(forwards)
        except BaseException as error:
            ended.append(error)

    opening = threading.Thread(target=begin)
    opening.start()
    api.wait_for_asked(1)
    forwards.cancel()
    opening.join(SECONDS / 2)  # far less than a way may take to open
    assert [type(error) for error in ended] == [asyncio.CancelledError]
    with pytest.raises(asyncio.CancelledError):
        open_one(forwards)


def test_a_client_that_has_sent_its_last_byte_still_gets_its_answer(forwards: PortForwards) -> None:
    with connect(open_one(forwards)) as connection:
        connection.sendall(b"question")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"question"


def test_a_silent_pod_does_not_keep_the_connection_of_a_client_that_has_left(
    api: FakeApi, forwards: PortForwards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portforward, "_SILENCE_SECONDS", 0.2)
    with connect(open_one(forwards)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert is_cut(connection)


class Silent:
    """Hears of the silent, and has forwards that listen for them every few milliseconds."""

    def __init__(self, api: FakeApi) -> None:
        self.told: queue.Queue[tuple[str, str]] = queue.Queue()

        async def connect_api() -> FakeApi:
            return api

        self.forwards = PortForwards(
            connect_api, on_silent=lambda name, reason: self.told.put((name, reason)), silence_seconds=0.3
        )


@pytest.fixture
def silent(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    monkeypatch.setattr(portforward, "_LOOK_SECONDS", 0.01)
    silent = Silent(api)
    yield silent
    silent.forwards.shutdown(10)


def test_a_pod_that_falls_silent_is_told_of_with_the_last_problem(api: FakeApi, silent: Silent) -> None:
    api.away = True  # until all is as it should be when silence begins to count
    address = open_one(silent.forwards)
    with connect(address) as connection:
        assert exchange(connection, b"a") == b"a"
        api.problems = [ApiError("get pods/portforward", 500, "error dialing backend: no route to host")] * 1000
        connection.sendall(b"BREAK")
        assert is_cut(connection)
    with connect(address):
        api.wait_for_asked(4)
        api.away = False
        name, reason = silent.told.get(timeout=SECONDS)
    assert name == "the way to p"
    assert reason.startswith("nothing has come from it for ")
    assert "s, though the API server answers" in reason
    assert "error dialing backend: no route to host" in reason
    assert silent.told.empty()


def test_nobody_is_silent_while_the_api_server_is_away(api: FakeApi, silent: Silent) -> None:
    api.away = True
    with connect(open_one(silent.forwards)) as connection:
        assert exchange(connection, b"a") == b"a"
        api.wait_for_questions(60)  # at least twice the time after which it would be lost
        assert silent.told.empty()
        api.away = False
        assert silent.told.get(timeout=SECONDS)[0] == "the way to p"


NO_WAY = ApiError("get pods/portforward", 500, "error dialing backend: No agent available")


def lose_the_way(api: FakeApi, forwards: PortForwards, *nodes: str) -> list[socket.socket]:
    """A Pod on each of the nodes is heard, and from then on the API server reaches none; returns their connections."""
    api.away = True  # until all is as it should be when silence begins to count
    addresses = [open_one(forwards, f"p{number}", node) for number, node in enumerate(nodes)]
    connections = [connect(address) for address in addresses]
    for connection in connections:
        assert exchange(connection, b"a") == b"a"
    api.problems = [NO_WAY] * 10000
    for connection in connections:
        with connection:
            connection.sendall(b"BREAK")
            assert is_cut(connection)
    asked = len(api.asked)
    tries = [connect(address) for address in addresses]
    api.wait_until(lambda: len({pod for _, pod, _ in api.asked[asked:]}) == len(nodes))
    api.away = False
    return tries


def test_nobody_is_lost_while_the_api_server_reaches_no_node(api: FakeApi, silent: Silent) -> None:
    first, second = lose_the_way(api, silent.forwards, "node-1", "node-2")
    with first, second:
        api.wait_for_questions(api.questions + 60)  # at least twice the time after which they would be lost
        assert silent.told.empty()
        api.problems = []
        assert exchange(first, b"b") == b"b"  # so there is a way, and who is silent from now on is missed
        assert silent.told.get(timeout=SECONDS)


def test_all_pods_of_a_node_that_the_api_server_does_not_reach_are_lost(api: FakeApi, silent: Silent) -> None:
    first, second = lose_the_way(api, silent.forwards, "node-1", "node-1")
    with first, second:
        assert {silent.told.get(timeout=SECONDS)[0] for _ in range(2)} == {"the way to p0", "the way to p1"}


def test_it_is_told_when_nobody_looks_any_more_for_who_is_silent(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(portforward, "_LOOK_SECONDS", 0.01)
    called = threading.Event()

    async def connect_api() -> FakeApi:
        return api

    def fail(name: str, reason: str) -> None:
        called.set()
        raise RuntimeError("the listener's own defect")

    forwards = PortForwards(connect_api, on_silent=fail, silence_seconds=0.1)
    try:
        with connect(open_one(forwards)) as connection:
            assert exchange(connection, b"a") == b"a"
            assert called.wait(SECONDS)
    finally:
        forwards.shutdown(10)
    [words] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert "the listener's own defect" in words


def test_a_pod_that_the_api_server_does_not_know_any_more_is_silent_too(api: FakeApi, silent: Silent) -> None:
    api.away = True
    address = open_one(silent.forwards)
    with connect(address) as connection:
        assert exchange(connection, b"a") == b"a"
    api.problems = [ApiError("get pods/portforward", 404, 'pods "p" not found')]
    assert is_cut_at_once(address)
    api.away = False
    assert 'pods "p" not found' in silent.told.get(timeout=SECONDS)[1]


def test_a_way_that_was_closed_is_not_missed(api: FakeApi, silent: Silent) -> None:
    api.away = True
    one, other = open_one(silent.forwards, "p"), open_one(silent.forwards, "q")
    with connect(one) as first, connect(other) as second:
        assert exchange(first, b"a") == exchange(second, b"a") == b"a"
        silent.forwards.close("the way to p")
        assert is_cut(first)
        api.away = False
        assert silent.told.get(timeout=SECONDS)[0] == "the way to q"
    assert silent.told.empty()
