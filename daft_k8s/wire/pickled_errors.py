"""The form in which users' exceptions travel from workers and actors to the driver."""

from __future__ import annotations

import itertools
from typing import Any

from daft_k8s.errors import TaskError
from daft_k8s.wire.raised import causes_of, headline

MOST_ERROR_BYTES = 1 << 20
"""A larger exception travels as its text: it carries data, for which the reports of tasks are not made."""


def encode_error(error: BaseException) -> bytes:
    """Encodes an exception that a task raised, so that unpickling gives the exception itself, cause included.

    An exception that does not survive pickling (many do pickle, but not back) becomes a `TaskError` with its type and
    text. So does each link in its chain of causes. Never raises.
    """
    from daft.pickle import dumps

    try:
        chain = [portable(link) for link in causes_of(error)]
        encoded: bytes = dumps(chain[0]) if len(chain) == 1 else dumps(_Chain(chain))
        if len(encoded) <= MOST_ERROR_BYTES:
            return encoded
    except BaseException:
        pass  # it pickles otherwise than a moment ago
    told: bytes = dumps(_as_task_error(error))
    return told


def decode_error(error: bytes, message: str) -> BaseException:
    """The inverse of `encode_error`; a `TaskError` with `message` if there is nothing to decode. Never raises."""
    if not error:
        return TaskError(message)
    from daft.pickle import loads

    try:
        decoded: Any = loads(error)
    except BaseException:  # what a user's `__setstate__` raises here, SystemExit among it
        return TaskError(message)
    return decoded if issubclass(type(decoded), BaseException) else TaskError(message)


class _Chain:
    """Pickles exceptions with their causes, which pickle itself would drop; unpickles as the first one."""

    def __init__(self, links: list[BaseException]) -> None:
        self.links = links

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_chain, (self.links,)


def _rebuild_chain(links: list[BaseException]) -> BaseException:
    for error, cause in itertools.pairwise(links):
        error.__cause__ = cause
    return links[0]


def portable(error: BaseException) -> BaseException:
    """The exception itself if it can be pickled and unpickled, else a `TaskError` with its type and text."""
    from daft.pickle import dumps, loads

    try:
        if type(loads(dumps(error))).__qualname__ == type(error).__qualname__:
            return error
    except BaseException:
        pass  # whatever a foreign __reduce__ or __init__ raises: the text below is what can be carried
    return _as_task_error(error)


def _as_task_error(error: BaseException) -> TaskError:
    return TaskError(headline(error, qualified=True))
