"""The current folder of a worker process, in which the relative paths of its tasks start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple

logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    folder: str
    turn: asyncio.Future[None]


class CurrentFolder:
    """Gives each task the current folder that it wants. Used on one event loop.

    A process has a single current folder. Tasks that want the same one run at the same time; a task that wants
    another waits until they have ended. Tasks enter in the order in which they came, so none waits for ever.
    """

    def __init__(self) -> None:
        self._folder = ""
        self._users = 0
        self._queue: deque[_Waiting] = deque()

    @contextlib.asynccontextmanager
    async def held(self, folder: str | None) -> AsyncIterator[None]:
        """Keeps the process in a folder for as long as the block runs; None: any folder will do."""
        if folder is None:
            yield
            return
        await self._enter(folder)
        try:
            yield
        finally:
            self._users -= 1
            self._admit()

    async def _enter(self, folder: str) -> None:
        waiting = _Waiting(folder, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._admit()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            elif not waiting.turn.cancelled():
                self._users -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        while self._queue and (not self._users or self._queue[0].folder == self._folder):
            waiting = self._queue.popleft()
            if waiting.turn.cancelled():
                continue
            if not self._users:
                try:
                    # Even if it is the same as before: code of the user may have changed it.
                    enter_folder(waiting.folder)
                except OSError as error:  # no folder can be made in place of one that is gone: a full disk
                    waiting.turn.set_exception(error)
                    continue
                self._folder = waiting.folder
            self._users += 1
            waiting.turn.set_result(None)


def enter_folder(folder: str) -> None:
    """Makes a folder the current one of this process.

    If it is not there any more, relative paths lead nowhere and fail, as they do in a driver whose current folder was
    removed. Elsewhere they would name other files.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        logger.debug("the driver's current folder %r cannot be entered: %s", folder, error)
        removed = tempfile.mkdtemp(prefix="daft-no-folder-")
        os.chdir(removed)
        os.rmdir(removed)
