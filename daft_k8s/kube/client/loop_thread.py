"""An event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class LoopThread:
    """Runs from when it is made until `stop`. Its work outlives the interpreter's last line: sessions end after it.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(_InPlace())
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """True while the thread takes work."""
        return self._thread.is_alive() and not self.loop.is_closed()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Has the function called on the thread. Returns at once."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def run(self, work: Coroutine[Any, Any, Any], timeout_seconds: float) -> Any:
        """Runs a coroutine there and waits for its result.

        Raises:
            concurrent.futures.TimeoutError: It took too long.
        """
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_seconds)

    def stop(self, timeout_seconds: float) -> None:
        """Ends loop and thread; a loop that does not end in time is left to itself."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self.loop.close()


class _InPlace(concurrent.futures.ThreadPoolExecutor):
    """Does what is small (a look into ~/.netrc, a name's address) where it is asked for.

    Sessions end when the interpreter exits, and by then Python takes no more work for other threads.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
