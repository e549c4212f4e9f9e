"""The driver's end of workers' calls: decodes each, and has the handler of its type answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from daft_k8s.wire.calls import DriverCall
from daft_k8s.wire.codec import decode, encode
from daft_k8s.wire.raised import headline

if TYPE_CHECKING:
    from daft_k8s._native import WorkerCall

C = TypeVar("C", bound=DriverCall[Any])


class WorkerCalls:
    """The handlers of a session. Calls arrive on its event loop."""

    def __init__(self) -> None:
        self._handlers: dict[type, Callable[[str, Any], object]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def add(self, request: type[C], handler: Callable[[str, C], object]) -> None:
        """Has `handler(worker_id, request)` answer calls of a type; it returns the reply, or an awaitable of it.

        An exception is sent back to the worker as text.
        """
        self._handlers[request] = handler

    def on_call(self, call: WorkerCall) -> None:
        """Answers one call. Never raises."""
        try:
            request = decode(call.payload)
            handler = self._handlers.get(type(request))
            if handler is None:
                raise LookupError(f"this driver answers no calls to {call.target!r}")
            reply = handler(call.worker_id, request)
        except Exception as error:
            call.fail(headline(error))
            return
        if not isinstance(reply, Awaitable):
            call.reply(encode(reply))
            return
        answering = asyncio.get_running_loop().create_task(_reply_later(call, reply))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)


async def _reply_later(call: WorkerCall, reply: Awaitable[object]) -> None:
    try:
        call.reply(encode(await reply))
    except Exception as error:
        call.fail(headline(error))
