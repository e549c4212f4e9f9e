"""Exceptions taken apart into plain values, and put together again without running anybody's code.

A class is not sent. It is named, and found only if the reader has it already: in a module that has been imported, or
among the classes that the reader has sent itself. So what can stand in an `except` of the reader is found.

Invariant: putting an exception together imports nothing and unpickles nothing. Of a user's class it calls no method but
`__str__`, to compare the text.
"""

from __future__ import annotations

import builtins
import sys
from dataclasses import dataclass, replace
from typing import Any, cast

from daft_k8s.wire.raised import printable, text_of

_PLAIN = (type(None), bool, int, float, str, bytes)
_MOST_DEPTH = 20


@dataclass(frozen=True)
class ErrorParts:
    """One exception. Values in it that are neither plain nor exceptions are texts that show them."""

    module: str
    name: str
    """The qualified name of its class in that module."""
    tracker: str
    """The id of a class that travels by value, as Daft's pickler gives it; "": it is found by its name."""
    arguments: tuple[Any, ...]
    state: dict[str, Any]
    """Its attributes."""
    text: str


def take_apart(error: BaseException) -> ErrorParts:
    """The parts of an exception, of which no code runs but its `__str__` and the `__repr__` of what it holds."""
    return _take_apart(error, 0)


def text_only(parts: ErrorParts) -> ErrorParts:
    """The same exception without the values that it holds, which are too large."""
    return replace(parts, arguments=(parts.text,), state={})


def put_together(parts: ErrorParts) -> BaseException | None:
    """The inverse of `take_apart`: an exception of the same class; None if this process has no such class.

    If its text depends on what could not travel, it is made of its text.
    """
    kind = _find_class(parts)
    if kind is None:
        return None
    text = printable(parts.text)
    for form in (parts, replace(parts, arguments=(parts.text,)), text_only(parts)):
        error = _make(kind, form)
        if error is not None and text in text_of(error):
            return error
    return None


def _take_apart(error: BaseException, depth: int) -> ErrorParts:
    kind = type(error)
    reduced: Any = _base_of(kind).__reduce__(error)
    arguments, state = reduced[1], reduced[2] if len(reduced) > 2 else None
    return ErrorParts(
        module=printable(str(kind.__module__)),
        name=printable(kind.__qualname__),
        tracker=_tracker_of(kind),
        arguments=tuple(_plain(value, depth) for value in arguments),
        state={printable(str(key)): _plain(value, depth) for key, value in (state or {}).items()},
        text=text_of(error),
    )


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if depth < _MOST_DEPTH:
        if kind in (list, tuple):
            return kind(_plain(item, depth + 1) for item in value)
        if kind is dict:
            return {_plain(key, depth + 1): _plain(item, depth + 1) for key, item in value.items()}
        if issubclass(kind, BaseException):
            return _take_apart(value, depth + 1)
    try:
        return printable(repr(value))
    except BaseException:
        return f"<{printable(kind.__name__)} that cannot be shown>"


def _whole(value: Any) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(_whole(item) for item in value)
    if kind is dict:
        return {_whole(key): _whole(item) for key, item in value.items()}
    if kind is ErrorParts:
        return put_together(value) or value.text
    return value


def _make(kind: type[BaseException], parts: ErrorParts) -> BaseException | None:
    base = _base_of(kind)
    arguments = _whole(parts.arguments)
    try:
        error = base.__new__(kind, *arguments)
        base.__init__(error, *arguments)
        for name, value in parts.state.items():
            attribute = vars(base).get(name)
            if attribute is not None and hasattr(type(attribute), "__set__"):
                attribute.__set__(error, _whole(value))
            else:
                vars(error)[name] = _whole(value)
    except Exception:
        return None
    return error


def _base_of(kind: type[BaseException]) -> type[BaseException]:
    """Python's own exception class of which a class is made."""
    own = [base for base in kind.__mro__ if base.__module__ == "builtins" and vars(builtins).get(base.__name__) is base]
    return cast("type[BaseException]", own[0])


def _tracker_of(kind: type[BaseException]) -> str:
    tracker = _trackers("_DYNAMIC_CLASS_TRACKER_BY_CLASS").get(kind, "")
    return tracker if type(tracker) is str else ""


def _trackers(name: str) -> Any:
    """A table of Daft's pickler: the classes that travel by value, each with an id that stays the same on its way."""
    return getattr(sys.modules.get("daft.pickle.cloudpickle"), name, {})


def _find_class(parts: ErrorParts) -> type[BaseException] | None:
    found = _trackers("_DYNAMIC_CLASS_TRACKER_BY_ID").get(parts.tracker) if parts.tracker else None
    if found is None:
        found = sys.modules.get(parts.module)
        for name in parts.name.split("."):
            # Not by getattr: a module may import others when it is asked for a name.
            found = vars(found).get(name) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
