"""One connection to a port of a Pod, through the API server.

Kubernetes' port-forward over a websocket, in the protocol `v4.channel.k8s.io`. Each message begins with the number of
its channel: 0 for data, 1 for errors. Each channel's first message names the port. The API server passes it on to the
Pod's node, which connects to the port on the Pod's loopback address.

A websocket carries a single connection, so that a slow reader holds up no other. The protocol knows no half
of a close: it ends in both directions at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from daft_k8s.kube.client.errors import ApiError, api_error

PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_DATA_PREFIX = bytes([_DATA])
_CLOSE_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
_ORDERLY = (aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.GOING_AWAY)
_ENDS = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


class PodStream:
    """Bytes to and from a Pod's port.

    Args:
        socket: The websocket, whose protocol is PROTOCOL.
        action: The purpose, for errors.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool], action: str) -> None:
        self._socket = socket
        self._action = action
        self._greeted: set[int] = set()

    async def receive(self) -> memoryview:
        """Returns the next bytes from the Pod; none: the Pod has closed the connection.

        Raises:
            ApiError: The connection broke, or the port does not answer.
        """
        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY and message.data:
                channel, content = message.data[0], memoryview(message.data)[1:]
                if channel not in self._greeted:
                    self._greeted.add(channel)  # two bytes that name the port
                elif channel == _ERROR:
                    raise ApiError(self._action, 0, bytes(content).decode(errors="replace").strip())
                elif content:
                    return content
            elif message.type in _ENDS:
                if message.type is aiohttp.WSMsgType.CLOSE and message.data in _ORDERLY:
                    return memoryview(b"")
                raise ApiError(self._action, 0, "the connection to the API server broke")
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise ApiError(self._action, 0, f"the connection to the API server broke: {message.data}")

    async def send(self, content: bytes) -> None:
        """Sends it, as fast as it is taken.

        Raises:
            ApiError: The connection broke.
        """
        try:
            await self._socket.send_bytes(_DATA_PREFIX + content)
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(self._action, 0, f"the connection to the API server broke: {error}") from error

    async def close(self) -> None:
        """Ends the connection, without a long wait for the peer."""
        await self._socket.close()


async def open_stream(
    session: aiohttp.ClientSession, url: str, *, action: str, headers: dict[str, str], **options: Any
) -> PodStream:
    """Opens a connection to the port that the URL of a Pod's `portforward` names.

    Args:
        session: Its connections.
        url: With `?ports=`.
        action: The purpose, for errors.
        headers: With the credentials.
        **options: Of aiohttp: the proxy, the server's name.

    Raises:
        ApiError: The API server refuses it, or does not answer.
    """
    connecting = session.ws_connect(
        url,
        protocols=[PROTOCOL],
        headers=headers,
        max_msg_size=0,
        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
        **options,
    )
    try:
        socket = await asyncio.wait_for(connecting, _CONNECT_SECONDS)
    except aiohttp.WSServerHandshakeError as error:
        raise await _refusal(session, url, action, headers, error.status, options) from error
    except asyncio.TimeoutError as error:
        raise ApiError(action, 0, f"no answer within {_CONNECT_SECONDS:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ApiError(action, 0, f"{type(error).__name__}: {error}") from error
    if socket.protocol != PROTOCOL:
        await socket.close()
        raise ApiError(action, 501, f"the API server does not speak {PROTOCOL}; a proxy before it may not pass it on")
    return PodStream(socket, action)


async def _refusal(
    session: aiohttp.ClientSession, url: str, action: str, headers: dict[str, str], status: int, options: dict[str, Any]
) -> ApiError:
    """The error in Kubernetes' words, which a refused websocket does not bring: a plain request does."""
    try:
        timeout = aiohttp.ClientTimeout(total=_CONNECT_SECONDS)
        async with session.get(url, headers=headers, timeout=timeout, **options) as response:
            if response.status == status:
                return api_error(action, status, await response.read(), None, response.reason or "")
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        pass
    return ApiError(action, status, "the API server did not agree to a websocket")
