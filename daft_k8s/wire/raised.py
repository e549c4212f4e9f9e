"""Exceptions of users' code: described, classified and carried, without trusting them.

An exception is an object of the user. Its `__str__`, `__repr__`, `__eq__`, `__reduce__` and `__class__` may raise
anything, and its type may mean something to Python: StopAsyncIteration ends a stream, CancelledError a task, SystemExit
an event loop. So exceptions travel wrapped, are compared by identity, and are classified by `type()`, as `isinstance`
asks `__class__`.

Invariant: no function here raises because of the exception that it is given.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from daft_k8s.errors import TaskError

P = ParamSpec("P")
T = TypeVar("T")

MOST_CHARACTERS = 64 << 10
"""Longer texts are cut in the middle: an exception that quotes a whole partition must still fit into a report."""
_HEAD_SHARE = 4
"""One part in so many is kept of the beginning, the rest of the end, where a traceback names the exception."""

_QUOTED_CHARACTERS = 100
_MOST_CAUSES = 100
_PROTOCOL = (StopIteration, StopAsyncIteration)
"""Exceptions that Python's iterators and coroutines act on, although they are subclasses of Exception."""


class CarriedError(Exception):
    """Carries an exception of users' code through awaits, futures and Daft's Rust, which might act on its type."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __str__(self) -> str:
        return headline(self.error)


def carrying(function: Callable[P, T]) -> Callable[P, T]:
    """Returns the function such that all that it raises arrives as a `CarriedError`."""

    @functools.wraps(function)
    def carried(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            raise CarriedError(error) from None

    return carried


def uncarried(error: BaseException) -> BaseException:
    """The exception that was carried; any other one as it is."""
    while type(error) is CarriedError:
        error = error.error
    return error


def is_ordinary(error: BaseException) -> bool:
    """True if nothing in Python acts on this exception by itself, so that it may be raised anywhere."""
    kind = type(error)
    return issubclass(kind, Exception) and not issubclass(kind, _PROTOCOL)


def ordinary(error: BaseException, text: str = "") -> Exception:
    """The exception itself if it may be raised anywhere, else a `TaskError` (a RuntimeError) with it as the cause.

    Python does the same for a generator that raises StopIteration (PEP 479).

    Args:
        error: The exception of users' code, carried or not.
        text: The text of the `TaskError`; by default the exception's type and text.
    """
    error = uncarried(error)
    if is_ordinary(error) and isinstance(error, Exception):
        return error
    replaced = TaskError(text or headline(error))
    replaced.__cause__ = error
    return replaced


def type_name(error: BaseException, *, qualified: bool = False) -> str:
    """The name of an exception's type, on request with its module."""
    try:
        kind = type(error)
        return printable(f"{kind.__module__}.{kind.__qualname__}" if qualified else kind.__name__)
    except BaseException:  # of a metaclass
        return "an exception"


def text_of(error: BaseException) -> str:
    """The text of an exception; if its `__str__` raises, its arguments."""
    try:
        return printable(str(error))
    except BaseException as failure:
        failed = type_name(failure)
    try:
        arguments = printable(repr(_slot("args", error)))
    except BaseException:
        arguments = "that cannot be shown either"
    return f"<no text: its __str__ raised {failed}; it was made with the arguments {arguments}>"


def headline(error: BaseException, *, qualified: bool = False) -> str:
    """The type and the text of an exception, as the last line of a traceback has them."""
    text = text_of(error)
    name = type_name(error, qualified=qualified)
    return f"{name}: {text}" if text else name


def traceback_of(error: BaseException) -> str:
    """The traceback as Python prints it, causes included; at least its frames, if the exception does not allow that."""
    frames = _slot("__traceback__", error)
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:
        text = "".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), f"{headline(error)}\n"])
    # Python prints "<exception str() failed>" for such as have no text, or an odd one.
    lost = [headline(link) for link in causes_of(error) if text_of(link)[:_QUOTED_CHARACTERS] not in text]
    return printable("\n".join([text.rstrip("\n"), *lost, ""]))


def causes_of(error: BaseException) -> list[BaseException]:
    """The exception and the causes that were named with `raise ... from ...`, each once."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _MOST_CAUSES and not any(link is seen for seen in chain):
        chain.append(link)
        link = _slot("__cause__", link)
    return chain


def _slot(name: str, error: BaseException) -> Any:
    """An attribute that every exception has, past a property of the same name in the user's class."""
    return vars(BaseException)[name].__get__(error)


def attribute_of(error: BaseException, name: str) -> Any:
    """An attribute of an exception; None if it has none, or raises."""
    try:
        return getattr(error, name, None)
    except BaseException:
        return None


def add_note(error: BaseException, note: str) -> bool:
    """Adds a note to an exception; False if it takes none, as before Python 3.11."""
    add: Callable[[BaseException, str], None] | None = getattr(BaseException, "add_note", None)
    try:
        if add is not None:
            add(error, note)
            return True
        vars(error)["__notes__"] = [*getattr(error, "__notes__", ()), note]
    except BaseException:  # it has slots, or an `__notes__` of its own
        return False
    return False


def printable(text: str) -> str:
    """A plain text of bounded length that can be encoded, of any text, also of a subclass of `str`."""
    plain = str.encode(text, "utf-8", "backslashreplace").decode("utf-8")
    surplus = len(plain) - MOST_CHARACTERS
    if surplus <= 0:
        return plain
    head = MOST_CHARACTERS // _HEAD_SHARE
    return f"{plain[:head]}\n[... {surplus:,} characters are left out ...]\n{plain[head + surplus :]}"
