"""The messages of Kubernetes' port-forward over a websocket, as a 1.34 cluster sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiohttp
import pytest

from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.client.pod_stream import PodStream

PORT = (7777).to_bytes(2, "little")


class FakeSocket:
    """A websocket that gives what it was told to give."""

    def __init__(self, *messages: aiohttp.WSMessage) -> None:
        self._messages = list(messages)
        self.sent: list[bytes] = []

    async def receive(self) -> aiohttp.WSMessage:
        return self._messages.pop(0)

    async def send_bytes(self, content: bytes) -> None:
        if not self._messages:
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        self.sent.append(content)


def data(content: bytes) -> aiohttp.WSMessage:
    return aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, content, "")


GREETING = (data(b"\0" + PORT), data(b"\1" + PORT))


def stream(*messages: aiohttp.WSMessage) -> PodStream:
    return PodStream(FakeSocket(*GREETING, *messages), "get pods/portforward")  # type: ignore[arg-type]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_the_ports_names_and_the_channels_number_are_no_data() -> None:
    async def read() -> list[bytes]:
        pod = stream(data(b"\0one"), data(b"\0"), data(b"\0two"))
        return [bytes(await pod.receive()), bytes(await pod.receive())]

    assert run(read()) == [b"one", b"two"]


def test_an_orderly_end_is_no_content() -> None:
    end = aiohttp.WSMessage(aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.OK, "")
    assert bytes(run(stream(end).receive())) == b""


def test_what_the_node_says_is_the_error() -> None:
    refused = data(b"\1failed to connect to localhost:7777: connection refused ")
    with pytest.raises(ApiError, match=r"localhost:7777: connection refused$"):
        run(stream(refused).receive())


@pytest.mark.parametrize(
    "end",
    [
        aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None),
        aiohttp.WSMessage(aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.INTERNAL_ERROR, ""),
        aiohttp.WSMessage(aiohttp.WSMsgType.ERROR, ConnectionResetError("reset"), None),
    ],
)
def test_a_connection_that_breaks_is_no_orderly_end(end: aiohttp.WSMessage) -> None:
    with pytest.raises(ApiError, match="the connection to the API server broke") as caught:
        run(stream(end).receive())
    assert caught.value.transient


def test_data_goes_out_on_its_channel() -> None:
    socket = FakeSocket(*GREETING)
    run(PodStream(socket, "get pods/portforward").send(b"abc"))  # type: ignore[arg-type]
    assert socket.sent == [b"\0abc"]


def test_sending_into_a_broken_connection_is_an_error() -> None:
    with pytest.raises(ApiError, match="Cannot write to closing transport"):
        run(PodStream(FakeSocket(), "get pods/portforward").send(b"abc"))  # type: ignore[arg-type]
