"""Exceptions that users' code may raise: all of Python's own, and such as misbehave when they are looked at.

Workers import this module. An exception is made by its name, where it is raised.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import os
import queue
from collections.abc import Callable
from typing import Any, NoReturn

WORDS = "my own words"
ON_WORKERS = "DAFT_FLOTILLA_WORKER"


def fail(*_: object) -> NoReturn:
    raise ArithmeticError("looked at")


def leave(*_: object) -> NoReturn:
    raise SystemExit(7)


class StrRaises(Exception):
    __str__ = fail


class StrExits(Exception):
    __str__ = leave


class StrIsNone(Exception):
    def __str__(self) -> Any:
        return None


class OddText(str):
    encode = fail  # type: ignore[assignment]
    __format__ = fail  # type: ignore[assignment]
    __str__ = fail


class StrIsOdd(Exception):
    def __str__(self) -> str:
        return OddText(WORDS)


class ReprRaises(Exception):
    __repr__ = fail


class NothingToSee(Exception):
    __str__ = fail
    __repr__ = fail


class EqRaises(Exception):
    __eq__ = fail  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class HashRaises(Exception):
    __hash__ = fail  # type: ignore[assignment]


class ReduceRaises(Exception):
    __reduce__ = fail


class ReduceExits(Exception):
    __reduce__ = leave


class ReduceStops(Exception):
    def __reduce__(self) -> Any:
        raise StopIteration(WORDS)


class ReduceLies(Exception):
    def __reduce__(self) -> Any:
        return int, ("5",)


def revive(words: str) -> Exception:
    if not os.environ.get(ON_WORKERS):
        raise SystemExit(7)
    return RevivesOnWorkersOnly(words)


class RevivesOnWorkersOnly(Exception):
    def __reduce__(self) -> Any:
        return revive, self.args


class TwoArguments(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class ClassRaises(Exception):
    @property
    def __class__(self) -> Any:
        raise ArithmeticError("looked at")


class ClassLies(Exception):
    @property
    def __class__(self) -> Any:
        return int


class AttributesRaise(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise ArithmeticError("looked at")


class CauseRaises(Exception):
    __cause__ = property(fail)  # type: ignore[assignment]
    __context__ = property(fail)  # type: ignore[assignment]
    __traceback__ = property(fail)  # type: ignore[assignment]
    __notes__ = property(fail)  # type: ignore[assignment]
    args = property(fail)  # type: ignore[assignment]


class Meta(type):
    @property
    def __module__(cls) -> str:  # type: ignore[override]
        raise ArithmeticError("looked at")


class MetaRaises(Exception, metaclass=Meta):
    pass


class StopsAsIteration(StopIteration):
    pass


class Exits(SystemExit):
    __str__ = fail


def a_cycle() -> BaseException:
    first, second = ValueError(WORDS), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def its_own_cause() -> BaseException:
    error = ValueError(WORDS)
    error.__cause__ = error
    return error


def odd_notes() -> BaseException:
    error = ValueError(WORDS)
    error.__notes__ = 5  # type: ignore[assignment]
    return error


def a_local_class() -> BaseException:
    class LocalError(Exception):
        pass

    return LocalError(WORDS)


def long_chain() -> BaseException:
    error: BaseException = ValueError("the first")
    for number in range(300):
        error, cause = ValueError(f"{WORDS} {number}"), error
        error.__cause__ = cause
    return error


def holds_a_generator() -> BaseException:
    error = ValueError(WORDS)
    error.rest = (number for number in range(3))  # type: ignore[attr-defined]
    return error


Maker = Callable[[], BaseException]

SPECIAL: dict[str, Maker] = {
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, WORDS),
    "UnicodeEncodeError": lambda: UnicodeEncodeError("ascii", "\xff", 0, 1, WORDS),
    "UnicodeTranslateError": lambda: UnicodeTranslateError("\xff", 0, 1, WORDS),
}
"""Those of Python's that one text does not make."""

if hasattr(builtins, "BaseExceptionGroup"):
    SPECIAL["BaseExceptionGroup"] = lambda: builtins.BaseExceptionGroup(WORDS, [SystemExit(3), ValueError("inner")])
    SPECIAL["ExceptionGroup"] = lambda: builtins.ExceptionGroup(WORDS, [KeyError("inner"), StrRaises("inner")])


def _maker(kind: type[BaseException]) -> Maker:
    return SPECIAL.get(kind.__name__, lambda: kind(WORDS))


BUILT_IN: dict[str, Maker] = {
    name: _maker(kind)
    for name, kind in sorted(vars(builtins).items())
    if type(kind) is type and issubclass(kind, BaseException) and kind.__name__ == name  # no aliases
}
"""Every exception that Python has by itself."""

OF_LIBRARIES: dict[str, Maker] = {
    "CancelledError": lambda: asyncio.CancelledError(WORDS),
    "concurrent.CancelledError": lambda: concurrent.futures.CancelledError(WORDS),
    "concurrent.TimeoutError": lambda: concurrent.futures.TimeoutError(WORDS),
    "InvalidStateError": lambda: asyncio.InvalidStateError(WORDS),
    "Empty": lambda: queue.Empty(WORDS),
    "exit code": lambda: SystemExit(3),
    "exit": lambda: SystemExit(),
}

HOSTILE: dict[str, Maker] = {
    **{
        kind.__name__: lambda kind=kind: kind(WORDS)  # type: ignore[misc]
        for kind in (
            StrRaises, StrExits, StrIsNone, StrIsOdd, ReprRaises, NothingToSee, EqRaises, HashRaises, ReduceRaises,
            ReduceExits, ReduceStops, ReduceLies, RevivesOnWorkersOnly, ClassRaises, ClassLies, AttributesRaise,
            CauseRaises, MetaRaises, StopsAsIteration, Exits,
        )
    },
    "TwoArguments": lambda: TwoArguments("my own", "words"),
    "surrogate": lambda: ValueError(f"{WORDS} \udcff \x00"),
    "huge": lambda: ValueError(f"{WORDS} {'x' * 20_000_000}"),
    "no text": lambda: ValueError(),
    "missing module": lambda: ModuleNotFoundError("No module named 'nowhere'", name="nowhere"),
    "odd module": lambda: ModuleNotFoundError(WORDS, name=OddText("nowhere")),
    **{maker.__name__: maker for maker in (a_cycle, its_own_cause, odd_notes, a_local_class, long_chain,
                                           holds_a_generator)},
}  # fmt: skip

EXCEPTIONS: dict[str, Maker] = {**BUILT_IN, **OF_LIBRARIES, **HOSTILE}

PROTOCOL = ("StopIteration", "StopAsyncIteration", "GeneratorExit", "CancelledError", "KeyboardInterrupt", "SystemExit")
"""Exceptions on which Python itself acts."""


def raise_named(name: str) -> NoReturn:
    raise EXCEPTIONS[name]()
