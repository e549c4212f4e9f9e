"""The wait until the cluster's DNS knows a name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
from collections.abc import Callable

from daft_k8s.kube.client import retries

logger = logging.getLogger(__name__)

_WITHIN_SECONDS = 20.0


def addresses_of(name: str) -> set[str]:
    """The addresses behind a name; none if it is not known. Blocks."""
    with contextlib.suppress(OSError):
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    return set()


async def wait_for_name(
    name: str,
    address: str,
    *,
    look_up: Callable[[str], set[str]] = addresses_of,
    within_seconds: float = _WITHIN_SECONDS,
) -> bool:
    """Waits until a name stands for an address; returns True if it does.

    Args:
        name: The name.
        address: The IP that it should stand for.
        look_up: Asks the DNS; tests put another in its place.
        within_seconds: The longest wait.
    """
    loop = asyncio.get_running_loop()
    # Of its own: a name server that does not answer blocks for seconds.
    threads = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="daft-k8s-dns")

    async def is_known() -> bool:
        return address in await loop.run_in_executor(threads, look_up, name)

    try:
        known: bool = await retries.name_lookup(within_seconds)(is_known)
    except RuntimeError:  # the interpreter exits, and takes no more work for threads
        return False
    finally:
        threads.shutdown(wait=False)
    return known
