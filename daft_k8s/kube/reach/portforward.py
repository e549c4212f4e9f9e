"""Ways from this machine to the ports of Pods, for a driver that cannot reach their addresses.

Each port of a Pod gets a listener on the loopback address, and each connection to it a separate stream through the API
server. A stream that dies ends only its connection: the client connects again to the same local address, and gets a new
stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from daft_k8s.kube.client import retries
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.loop_thread import LoopThread
from daft_k8s.kube.reach.failure_detector import FailureDetector

if TYPE_CHECKING:
    from daft_k8s.kube.client.api import Stream

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 256 * 1024
_BUFFER_BYTES = 1024 * 1024
"""The most that waits for a slow client; beyond it the Pod is no longer read."""
_DIAL_SECONDS = 20.0
"""The time for which a client's connection waits for the API server; then it is closed, and the client tries again."""
_SILENCE_SECONDS = 10.0
"""The time for which a Pod may send nothing after the client's last byte. The Pod is not told of that end."""
_FLUSH_SECONDS = 30.0
_START_SECONDS = 5.0
"""The time after the opening in which failures are not logged: the process in the Pod may be about to listen."""
_LOOK_SECONDS = 1.0
"""Between two looks at who is silent."""
_RESET_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing drops what is unsent and resets the connection."""


class StreamApi(Protocol):
    """The calls to the cluster; tests put another in its place."""

    async def open_port(self, namespace: str, pod: str, port: int) -> Stream: ...
    async def answers(self) -> bool: ...
    async def close(self) -> None: ...


OnSilent = Callable[[str, str], object]
"""Is told that nothing comes from a Pod: the name given to `open`, and for how long, with the last try's problem."""


@dataclass
class _Forward:
    """The listeners of one launch."""

    name: str
    namespace: str
    pod: str
    node: str
    servers: list[asyncio.Server] = field(default_factory=list)
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    broken: bool = False
    """True if the last stream failed, and that was logged."""
    opened_at: float = 0.0
    problem: ApiError | None = None
    """The error of the last try to get a stream, if nothing has come from the Pod since."""

    @property
    def unreached(self) -> bool:
        """True if the API server itself has found no way to the Pod's node."""
        return self.problem is not None and self.problem.status >= 500

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for connection in self.connections:
            connection.cancel()


class PortForwards:
    """Opens and closes listeners. Thread-safe.

    All bytes pass through an event loop and a thread of its own, so that they hold up nothing else.

    Args:
        connect: Makes a connection to the cluster, on the loop that will use it.
        on_silent: Hears, on the thread of this, of Pods from which nothing comes though the API server answers.
        silence_seconds: After how long. None of it counts in which the API server is away.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[StreamApi]],
        *,
        on_silent: OnSilent = lambda name, reason: None,
        silence_seconds: float = float("inf"),
    ) -> None:
        self._connect = connect
        self._on_silent = on_silent
        self._failures = FailureDetector(silence_seconds)
        self._watching: asyncio.Task[None] | None = None
        self._thread = LoopThread("daft-k8s-forward")
        self._connecting: asyncio.Task[StreamApi] | None = None
        self._forwards: dict[str, _Forward] = {}
        self._opening: set[asyncio.Task[object]] = set()
        self._closed = False

    async def open(self, name: str, *, namespace: str, pod: str, node: str, ports: Sequence[int]) -> list[str]:
        """Listens for each of the ports; returns the local addresses. A first stream shows that it can work.

        Args:
            name: The key for `close`; the Pod's name may come back with another process.
            namespace: The Pod's namespace.
            pod: Its name.
            node: The Pod's node; "": unknown.
            ports: Its ports.

        Raises:
            ApiError: The cluster refuses it.
            asyncio.CancelledError: `cancel` came first.
        """
        if not self._thread.runs:
            raise asyncio.CancelledError
        opening = self._open(_Forward(name, namespace, pod, node), ports)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(opening, self._thread.loop))

    def close(self, name: str) -> None:
        """Stops listening and cuts the connections. Returns at once; idempotent."""
        if self._thread.runs:
            self._thread.call(self._close, name)

    def cancel(self) -> None:
        """Ends what is being opened, and all that is open. Returns at once; idempotent."""
        if self._thread.runs:
            self._thread.call(self._cancel)

    def shutdown(self, timeout_seconds: float) -> None:
        """Ends all of it, and the thread. Idempotent."""
        if not self._thread.runs:
            return
        try:
            self._thread.run(self._shut_down(timeout_seconds / 2), timeout_seconds)
        finally:
            self._thread.stop(timeout_seconds / 2)

    # Everything below runs on the event loop of its own.

    async def _open(self, forward: _Forward, ports: Sequence[int]) -> list[str]:
        self._close(forward.name)
        own = asyncio.current_task()
        if own is not None:
            self._opening.add(own)
            own.add_done_callback(self._opening.discard)
        if self._closed:
            raise asyncio.CancelledError
        stream = await self._dial(forward, ports[0])
        await stream.close()
        self._forwards[forward.name] = forward
        forward.opened_at = asyncio.get_running_loop().time()
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._watch_failures())
            self._watching.add_done_callback(_report_death)
        try:
            for port in ports:
                server = await asyncio.start_server(
                    partial(self._serve, forward, port), LOOPBACK, 0, limit=_CHUNK_BYTES
                )
                forward.servers.append(server)
        except OSError as error:
            self._close(forward.name)
            raise ApiError("listen on this machine", 0, str(error)) from error
        return [f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}" for server in forward.servers]

    def _close(self, name: str) -> None:
        self._failures.forget(name)
        forward = self._forwards.pop(name, None)
        if forward is not None:
            forward.close()

    def _cancel(self) -> None:
        self._closed = True
        for opening in (*self._opening, *([] if self._watching is None else [self._watching])):
            opening.cancel()
        for name in list(self._forwards):
            self._close(name)

    async def _api(self) -> StreamApi:
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _dial(self, forward: _Forward, port: int) -> Stream:
        async def try_once() -> Stream:
            try:
                return await (await self._api()).open_port(forward.namespace, forward.pod, port)
            except ApiError as error:
                forward.problem = error
                logger.debug("no way to port %d of the Pod %s yet: %s", port, forward.pod, error)
                raise

        stream: Stream = await retries.dial(_DIAL_SECONDS)(try_once)
        return stream

    async def _serve(
        self, forward: _Forward, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        own = asyncio.current_task()
        if own is None:
            return
        forward.connections.add(own)
        try:
            stream = await self._dial(forward, port)
            try:
                await _pump(reader, writer, stream, partial(self._heard, forward))
                await _finish(writer)
            finally:
                await stream.close()
            forward.broken = False
        except ApiError as error:
            self._failed(forward, port, error)
        except (OSError, asyncio.CancelledError):  # the client is gone, or the forward was closed
            pass
        finally:
            forward.connections.discard(own)
            _cut(writer)

    def _heard(self, forward: _Forward) -> None:
        if self._forwards.get(forward.name) is forward:
            forward.problem = None
            self._failures.heard(forward.name, asyncio.get_running_loop().time())

    async def _watch_failures(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._failures.raises_doubt(loop.time()):
                continue
            if not await self._api_answers() or self._failures.has_no_way(self._unreached(), loop.time()):
                self._failures.api_is_away(loop.time())
                continue
            for name, seconds in self._failures.api_answers(loop.time()):
                problem = self._forwards[name].problem if name in self._forwards else None
                reason = f"nothing has come from it for {seconds:.0f} s, though the API server answers"
                self._on_silent(name, f"{reason}; the last try: {problem}" if problem else reason)

    def _unreached(self) -> dict[str, str]:
        return {name: forward.node for name, forward in self._forwards.items() if forward.unreached}

    async def _api_answers(self) -> bool:
        try:
            return await (await self._api()).answers()
        except ApiError as error:
            logger.debug("the API server does not answer: %s", error)
            return False

    def _failed(self, forward: _Forward, port: int, error: ApiError) -> None:
        if error.status == 404:
            logger.info("the Pod %s is gone, so is the way to it", forward.pod)
            forward.close()  # its silence goes on counting, in case no other sign shows its end
            return
        starts = asyncio.get_running_loop().time() - forward.opened_at < _START_SECONDS
        level = logging.DEBUG if forward.broken or starts else logging.WARNING
        forward.broken = not starts
        logger.log(level, "a connection to port %d of the Pod %s has ended; the next one gets a new stream: %s", port,
                   forward.pod, error)  # fmt: skip

    async def _shut_down(self, timeout_seconds: float) -> None:
        connections = [task for forward in self._forwards.values() for task in forward.connections]
        self._cancel()
        if connections:
            await asyncio.wait(connections, timeout=timeout_seconds)
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._connecting is not None and self._connecting.done() and self._connecting.exception() is None:
            await self._connecting.result().close()


def _report_death(watching: asyncio.Task[None]) -> None:
    """Logs an unexpected end of the watch: without it, lost workers would seem to be there."""
    if not watching.cancelled():
        error = watching.exception()
        logger.critical("silent Pods are no longer detected: %s", error, exc_info=error)


@dataclass
class _Count:
    chunks: int = 0


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream, heard: Callable[[], None]
) -> None:
    """Passes bytes both ways until the Pod has closed, or has fallen silent after the client's last byte."""
    writer.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
    delivered = _Count()
    up = asyncio.ensure_future(_up(reader, stream))
    down = asyncio.ensure_future(_down(stream, writer, delivered, heard))
    both: set[asyncio.Future[None]] = {up, down}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not down.done():
            up.result()
        while not down.done():
            before = delivered.chunks
            await asyncio.wait({down}, timeout=_SILENCE_SECONDS)
            if delivered.chunks == before and not down.done():
                return _cut(writer)
        down.result()
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _up(reader: asyncio.StreamReader, stream: Stream) -> None:
    while content := await reader.read(_CHUNK_BYTES):
        await stream.send(content)


async def _down(stream: Stream, writer: asyncio.StreamWriter, delivered: _Count, heard: Callable[[], None]) -> None:
    while content := await stream.receive():
        heard()
        writer.write(content)
        await writer.drain()
        delivered.chunks += 1


def _cut(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that the client does not take it for an orderly end. After such an end it does nothing."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    writer.transport.abort()


async def _finish(writer: asyncio.StreamWriter) -> None:
    """Closes once everything is delivered."""
    writer.close()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), _FLUSH_SECONDS)
