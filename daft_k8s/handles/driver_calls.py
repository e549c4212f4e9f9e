"""Calls of a worker to its driver, e.g. the LIMIT counter.

They ride on a stream that the driver opened.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from daft_k8s.errors import DaftK8sError
from daft_k8s.wire.calls import DriverCall, Reply
from daft_k8s.wire.codec import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable


class DriverCaller(Protocol):
    """The part of `WorkerServer` that is needed here."""

    def call_driver(
        self, target: str, payload: bytes, callback: Callable[[bytes | None, str | None], None]
    ) -> None: ...


class DriverCallError(DaftK8sError):
    """The driver could not be asked, or its answer was an error; the message says which.

    Args:
        message: The request, and the reason of its failure.
        reason: The driver's own words, if it was asked.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


_current: DriverCaller | None = None


def set_current_worker(caller: DriverCaller | None) -> None:
    """Names the server that `call_driver` uses; there is one worker in a process."""
    global _current
    _current = caller


async def call_driver(request: DriverCall[Reply]) -> Reply:
    """Makes a call to the driver and waits for its reply.

    Raises:
        DriverCallError: Not in a worker process, the driver is gone, or it answered with an error.
    """
    caller, target = _current, _name(request)
    if caller is None:
        raise DriverCallError(f"{target!r} can be called in a daft_k8s worker process only, and this is none")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Reply] = loop.create_future()

    def settle(payload: bytes | None, error: str | None) -> None:
        if answer.done():
            return
        if error is not None or payload is None:
            answer.set_exception(DriverCallError(f"calling {target!r} of the driver failed: {error}", error or ""))
        else:
            answer.set_result(decode(payload))

    # The server answers on its own event loop, which need not be the caller's.
    begin_call(caller, request, lambda data, error: _on_loop(loop, settle, data, error))
    return await answer


def begin_call(
    caller: DriverCaller, request: DriverCall[Any], callback: Callable[[bytes | None, str | None], None]
) -> None:
    """Begins a call without waiting, on any thread; the reply, or an error, arrives at `callback`."""
    caller.call_driver(_name(request), encode(request), callback)


def _name(request: DriverCall[Any]) -> str:
    return type(request).__name__


def _on_loop(
    loop: asyncio.AbstractEventLoop,
    settle: Callable[[bytes | None, str | None], None],
    payload: bytes | None,
    error: str | None,
) -> None:
    try:
        same_loop = asyncio.get_running_loop() is loop
    except RuntimeError:
        same_loop = False
    if same_loop:
        settle(payload, error)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(settle, payload, error)
