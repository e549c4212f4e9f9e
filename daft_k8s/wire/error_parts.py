"""Exceptions taken apart into plain values, and put together again without running anybody's code.

A class is not sent. It is named, with the classes that it derives from, and found only if the reader has it already: in
a module that has been imported, or among the classes that the reader has sent itself. So what can stand in an `except`
of the reader is found. If the class is not, the nearest one above it is taken.

Invariant: putting an exception together imports nothing and unpickles nothing. Of a user's class it calls no method but
`__str__`, to compare the text. Both ways take bounded time, whatever the exception holds.
"""

from __future__ import annotations

import builtins
import reprlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from daft_k8s.errors import TaskError
from daft_k8s.wire.raised import printable, text_of

_PLAIN = (type(None), bool, int, float, str, bytes)
_INT_BITS = 64
"""Python refuses to write far larger integers in decimal."""
_MOST_DEPTH = 20
_MOST_WORK = 10_000
"""The most work with the values that an exception holds: one or two for each, `_CODE_WORK` if its text takes code."""
_CODE_WORK = 10
_TOO_GENERAL = (Exception, BaseException, object)
"""Classes that say nothing of an exception whose own class is not found."""


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
    bases: tuple[tuple[str, str, str], ...] = ()
    """Module, name and tracker of each exception class that its class derives from, the nearest first."""

    @property
    def headline(self) -> str:
        """Its class and its text."""
        name = f"{self.module}.{self.name}"
        return f"{name}: {self.text}" if self.text else name


def take_apart(error: BaseException) -> ErrorParts:
    """The parts of an exception, of which no code runs but its `__str__` and the `__repr__` of what it holds."""
    return _Taking().error(error)


def text_only(parts: ErrorParts) -> ErrorParts:
    """The same exception without the values that it holds, which are too large."""
    return replace(parts, arguments=(parts.text,), state={})


def put_together(parts: ErrorParts) -> BaseException | None:
    """The inverse of `take_apart`: an exception of the same class; None if this process knows no class of it.

    If its text depends on what could not travel, it is made of its text. If its class is not found or cannot be made,
    it is of the nearest class above for which that is possible, and its text begins with the name of its own class.
    """
    whole = replace(parts, arguments=_whole(tuple(parts.arguments)), state=_whole(parts.state))
    kind = _find_class((parts.module, parts.name, parts.tracker))
    if kind is not None:
        text = printable(parts.text)
        error = _first_with(text, kind, (whole, replace(whole, arguments=(text,)), text_only(parts)))
        if error is not None:
            return error
    text = printable(parts.headline)
    named = replace(whole, arguments=(text,))
    forms = (named, replace(named, state={}), replace(whole, arguments=(text, *whole.arguments[1:])))
    for base in parts.bases:
        kind = _find_class(base)
        if kind is not None and kind not in _TOO_GENERAL:
            error = _first_with(text, kind, forms)
            if error is not None:
                return error
    return None


class _Taking:
    """The walk through one exception. What it meets on its way back, or beyond a bound, becomes a short text."""

    def __init__(self) -> None:
        self._work = _MOST_WORK
        self._way: set[int] = set()
        """The ids of the values inside which the walk is."""

    def error(self, error: BaseException) -> ErrorParts:
        kind = type(error)
        reduced: Any = _base_of(kind).__reduce__(error)
        arguments, state = reduced[1], reduced[2] if len(reduced) > 2 else None
        text = text_of(error)
        work = len(arguments) + len(state or ())
        if work > self._work:
            arguments, state = (text,), {}
        self._work -= len(arguments) + len(state or ())
        self._way.add(id(error))
        parts = ErrorParts(
            module=printable(str(kind.__module__)),
            name=printable(kind.__qualname__),
            tracker=_tracker_of(kind),
            arguments=tuple(self._plain(value) for value in arguments),
            state={printable(str(key)): self._plain(value) for key, value in (state or {}).items()},
            text=text,
            bases=tuple(_bases_of(kind)),
        )
        self._way.remove(id(error))
        return parts

    def _plain(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            if kind is int and value.bit_length() >= _INT_BITS:
                return printable(hex(value))
            return value
        work = 1 + 2 * len(value) if kind in (list, tuple, dict) else _CODE_WORK
        if id(value) in self._way:
            return f"<{printable(kind.__name__)}: the one that holds this>"
        if work > self._work:
            return f"<{printable(kind.__name__)}: left out of an exception that holds too much>"
        self._work -= work
        if len(self._way) > _MOST_DEPTH:
            return _shown(value, reprlib.repr)
        if issubclass(kind, BaseException):
            return self.error(value)
        if kind not in (list, tuple, dict):
            return _shown(value, repr)
        self._way.add(id(value))
        try:
            if kind is dict:
                return {self._plain(key): self._plain(item) for key, item in value.items()}
            return kind(self._plain(item) for item in value)
        finally:
            self._way.remove(id(value))


def _shown(value: Any, show: Callable[[Any], str]) -> str:
    try:
        return printable(show(value))
    except BaseException:
        return f"<{printable(type(value).__name__)} that cannot be shown>"


def _whole(value: Any) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(_whole(item) for item in value)
    if kind is dict:
        return {_whole(key): _whole(item) for key, item in value.items()}
    if kind is ErrorParts:
        return put_together(value) or TaskError(value.headline)
    return value


def _first_with(text: str, kind: type[BaseException], forms: tuple[ErrorParts, ...]) -> BaseException | None:
    """The exception made of the first of these forms with which it has this text."""
    for form in forms:
        error = _make(kind, form)
        if error is not None and _shows(error, text):
            return error
    return None


def _shows(error: BaseException, text: str) -> bool:
    try:
        shown = printable(str(error))
    except BaseException:
        return text_of(error) == text  # as where it was raised
    return text in shown or repr(text)[1:-1] in shown  # KeyError shows its argument's `repr`


def _make(kind: type[BaseException], parts: ErrorParts) -> BaseException | None:
    base = _base_of(kind)
    try:
        error = base.__new__(kind, *parts.arguments)
        base.__init__(error, *parts.arguments)
        for name, value in parts.state.items():
            attribute = vars(base).get(name)
            if attribute is not None and hasattr(type(attribute), "__set__"):
                attribute.__set__(error, value)
            else:
                vars(error)[name] = value
    except Exception:
        return None
    return error


def _base_of(kind: type[BaseException]) -> type[BaseException]:
    """Python's own exception class of which a class is made: the one whose memory layout it has."""
    base: Any = kind
    while vars(builtins).get(base.__name__) is not base:
        base = base.__base__
    return cast("type[BaseException]", base)


def _bases_of(kind: type[BaseException]) -> Iterator[tuple[str, str, str]]:
    for base in kind.__mro__[1:]:
        if issubclass(base, BaseException) and base not in _TOO_GENERAL:
            yield printable(str(base.__module__)), printable(base.__qualname__), _tracker_of(base)


def _tracker_of(kind: type[BaseException]) -> str:
    tracker = _trackers("_DYNAMIC_CLASS_TRACKER_BY_CLASS").get(kind, "")
    return tracker if type(tracker) is str else ""


def _trackers(name: str) -> Any:
    """A table of Daft's pickler: the classes that travel by value, each with an id that stays the same on its way."""
    return getattr(sys.modules.get("daft.pickle.cloudpickle"), name, {})


def _find_class(named: tuple[str, str, str]) -> type[BaseException] | None:
    module, name, tracker = named
    found = _trackers("_DYNAMIC_CLASS_TRACKER_BY_ID").get(tracker) if tracker else None
    if found is None:
        found = sys.modules.get(module)
        for part in name.split("."):
            # Not by getattr: a module may import others when it is asked for a name.
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
