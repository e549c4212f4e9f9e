"""The form in which users' exceptions travel from workers and actors to the driver.

An exception travels twice: in parts, of which the driver makes one of the same class without running any code of the
worker's choice, and pickled, for workers among themselves and for a driver that trusts its workers.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from daft_k8s.errors import TaskError
from daft_k8s.wire import codec
from daft_k8s.wire.error_parts import ErrorParts, put_together, take_apart, text_only
from daft_k8s.wire.raised import causes_of, headline

MOST_ERROR_BYTES = 1 << 20
"""A larger exception travels as its text: it carries data, for which the reports of tasks are not made."""


@dataclass(frozen=True)
class ErrorReport:
    """An exception with its causes."""

    chain: tuple[ErrorParts, ...]
    pickled: bytes
    """The exception, cause included; empty: it is too large, or cannot be pickled."""


def encode_error(error: BaseException) -> bytes:
    """Encodes an exception that a task raised, cause included.

    An exception that does not survive pickling (many do pickle, but not back) travels in parts alone. Never raises.
    """
    try:
        return _encode_links(list(causes_of(error)))
    except BaseException:  # its text, which is bounded and plain, tells what it was
        return _encode_links([_as_task_error(error)])


def _encode_links(links: list[BaseException]) -> bytes:
    chain = tuple(_parts(link) for link in links)
    pickled = _pickled(links)
    for report in (ErrorReport(chain, pickled), ErrorReport(chain, b"")):
        encoded = codec.encode(report)
        if len(encoded) <= MOST_ERROR_BYTES:
            return encoded
    return codec.encode(ErrorReport(tuple(text_only(parts) for parts in chain[:1]), b""))


def decode_error(error: bytes, message: str, *, trusted: bool) -> BaseException:
    """The inverse of `encode_error`; a `TaskError` with `message` if there is nothing to decode. Never raises.

    Args:
        error: The encoded exception.
        message: The text of the error if there is no exception.
        trusted: The sender may run code in this process: the exception is unpickled.
    """
    try:
        # No worker of ours sends a longer one.
        report = codec.decode(error) if 0 < len(error) <= MOST_ERROR_BYTES else None
        if not isinstance(report, ErrorReport):
            return TaskError(message)
        if trusted and report.pickled:
            error_itself = _unpickled(report.pickled)
            if error_itself is not None:
                return error_itself
        return _rebuild_chain([put_together(parts) or TaskError(parts.headline) for parts in report.chain])
    except Exception:  # the bytes are of no worker of ours
        return TaskError(message)


def _parts(error: BaseException) -> ErrorParts:
    try:
        return take_apart(error)
    except BaseException:  # of an odd metaclass, or of a `__repr__`
        return take_apart(_as_task_error(error))


def _pickled(links: list[BaseException]) -> bytes:
    from daft.pickle import dumps

    if any(portable(link) is not link for link in links):
        return b""
    try:
        pickled: bytes = dumps(links[0]) if len(links) == 1 else dumps(_Chain(links))
        if len(pickled) <= MOST_ERROR_BYTES // 2:
            return pickled
    except BaseException:
        pass  # it pickles otherwise than a moment ago
    return b""


def _unpickled(pickled: bytes) -> BaseException | None:
    """The exception; None if it does not unpickle here, for example as its class is not installed."""
    from daft.pickle import loads

    try:
        decoded: Any = loads(pickled)
    except BaseException:  # what a user's `__setstate__` raises here, SystemExit among it
        return None
    return decoded if issubclass(type(decoded), BaseException) else None


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
