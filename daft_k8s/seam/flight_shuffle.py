"""Daft's own shuffle (`shuffle_algorithm="flight_shuffle"`): the place of its files, and their end.

The data then goes through files and a server of Daft's executor in each worker, not through the workers' partition
stores. None of it is computed again when a worker is lost.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from daft_k8s.seam.unsupported import refuse

if TYPE_CHECKING:
    from daft.daft import PyDaftExecutionConfig

logger = logging.getLogger("daft_k8s")


_LONGEST_LIST = 1024


def configured_folders(config: PyDaftExecutionConfig) -> list[str]:
    """The `flight_shuffle_dirs` of a configuration, which Daft lets one set but not ask for.

    They are found in its pickled form, at any position: a list that gives the very same bytes when it is set is the
    right one.

    Raises:
        UnsupportedError: If they are not found, with another Daft.
    """
    pickled = _pickled(config)
    for position in range(len(pickled)):
        folders = _list_at(pickled, position)
        if folders and _pickled(config.with_config_values(flight_shuffle_dirs=folders)) == pickled:
            return folders
    refuse('shuffle_algorithm="flight_shuffle" with this version of Daft', 'use "map_reduce" or leave it unset')


def _pickled(config: PyDaftExecutionConfig) -> bytes:
    reduced: Any = config.__reduce__()
    data: bytes = reduced[1][0]
    return data


def _list_at(data: bytes, position: int) -> list[str] | None:
    """A list of texts as Daft writes it: their number, then each with its length, all in 8 bytes."""
    count, position = _number_at(data, position)
    if not 0 < count <= _LONGEST_LIST:
        return None
    texts = []
    for _ in range(count):
        length, position = _number_at(data, position)
        text = data[position : position + length]
        if not 0 < length == len(text):
            return None
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            return None
        position += length
    return texts


def _number_at(data: bytes, position: int) -> tuple[int, int]:
    return int.from_bytes(data[position : position + 8], "little"), position + 8


class FlightFolders:
    """The folders that hold Daft's shuffle files of one session.

    Daft numbers shuffles from 0 in every driver, so two drivers must never share a folder.
    """

    def __init__(self, session_id: str) -> None:
        self._name = f"daft_k8s-{session_id}"
        self._used: set[str] = set()
        self._lock = threading.Lock()

    def private(self, folders: Sequence[str]) -> list[str]:
        """The session's own folder below each one that was asked for."""
        private = [os.path.join(folder, self._name) for folder in folders]
        with self._lock:
            self._used.update(private)
        return private

    def remove(self) -> None:
        """Removes what queries that failed have left."""
        with self._lock:
            used, self._used = self._used, set()
        remove_folders(sorted(used))


def remove_folders(folders: Sequence[str]) -> None:
    """Removes folders with their files; one that is gone already is none to worry about."""
    for folder in folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("shuffle files in %s could not be removed: %s", folder, error)
