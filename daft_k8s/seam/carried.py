"""Coroutines that Daft's Rust awaits: all that they raise travels as a `CarriedError` until the consumer's thread."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from daft_k8s.wire.raised import CarriedError

P = ParamSpec("P")
T = TypeVar("T")


def carried(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Returns the coroutine function such that it raises nothing but `CarriedError`, or is cancelled.

    SystemExit, for one, would end the event loop of the driver here, and StopIteration become another exception.
    """

    @functools.wraps(function)
    async def wrapper(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return await function(*arguments, **options)
        except (asyncio.CancelledError, CarriedError):
            raise
        except BaseException as error:
            raise CarriedError(error) from None

    return wrapper
