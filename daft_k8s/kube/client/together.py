"""Asking several things at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results, in order, once all have ended: nothing is left under way when one has failed.

    Args:
        work: Coroutines that do not depend on one another.

    Raises:
        BaseException: The exception of the first coroutine, in order, that has failed.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
