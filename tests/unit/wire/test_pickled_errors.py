"""The form in which users' exceptions travel."""

from __future__ import annotations

import decimal
import pickle
import sys
import types
from dataclasses import replace
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire import codec, error_parts, pickled_errors
from daft_k8s.wire.error_parts import ErrorParts
from daft_k8s.wire.pickled_errors import MOST_ERROR_BYTES, ErrorReport, decode_error, encode_error
from daft_k8s.worker import actor
from tests.local.hostile_exceptions import EXCEPTIONS

BOTH = pytest.mark.parametrize("trusted", [False, True], ids=["by parts", "unpickled"])


class OddError(Exception):
    """Pickles, but not back."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@BOTH
def test_an_exception_arrives_as_itself_with_its_causes(trusted: bool) -> None:
    arrived = decode_error(encode_error(raised(ValueError("no"), raised(KeyError("deep")))), "", trusted=trusted)
    assert isinstance(arrived, ValueError)
    assert isinstance(arrived.__cause__, KeyError)


@BOTH
def test_an_exception_that_does_not_unpickle_arrives_as_one_of_its_class(trusted: bool) -> None:
    arrived = decode_error(encode_error(raised(OddError("left", "right"))), "", trusted=trusted)
    assert type(arrived) is OddError
    assert str(arrived) == "left and right"


@BOTH
def test_an_exception_that_cannot_be_pickled_arrives_as_one_of_its_class(trusted: bool) -> None:
    error = ValueError("no")
    error.extra = (number for number in range(3))  # type: ignore[attr-defined]
    arrived: Any = decode_error(encode_error(error), "", trusted=trusted)
    assert (type(arrived), str(arrived)) == (ValueError, "no")
    assert "generator" in arrived.extra


@BOTH
@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_survives_the_journey_or_arrives_as_its_type_and_text(name: str, trusted: bool) -> None:
    error = EXCEPTIONS[name]()
    encoded = encode_error(error)
    assert len(encoded) <= MOST_ERROR_BYTES
    arrived = decode_error(encoded, "the worker's words", trusted=trusted)
    assert type(arrived).__qualname__.rpartition(".")[2] == type(error).__name__ or type(arrived) is TaskError


@BOTH
def test_a_huge_exception_arrives_shortened_and_says_so(trusted: bool) -> None:
    error = ValueError("the beginning" + "x" * MOST_ERROR_BYTES + "the end")
    arrived = decode_error(encode_error(error), "", trusted=trusted)
    assert type(arrived) is ValueError
    for words in ("the beginning", "characters are left out", "the end"):
        assert words in str(arrived)


@BOTH
@pytest.mark.parametrize("nothing", [b"", b"no message", pickle.dumps(ValueError("a pickle")), codec.encode((1, "x"))])
def test_without_an_exception_the_message_is_the_error(nothing: bytes, trusted: bool) -> None:
    arrived = decode_error(nothing, "worker-0 said no", trusted=trusted)
    assert type(arrived) is TaskError
    assert str(arrived) == "worker-0 said no"


# --------------------------------------------------------------------------- from a worker that is not trusted


class Withdrawn(LookupError):
    """An exception as users write them."""

    def __init__(self, account: int, *, reason: str) -> None:
        super().__init__(f"account {account}")
        self.account, self.details = account, {"reason": reason, "rows": [1, 2]}

    def __reduce__(self) -> Any:
        return _withdrawn, (self.account, self.details["reason"])

    def __str__(self) -> str:
        return f"{self.account} was withdrawn: {self.details['reason']}"


def _withdrawn(account: int, reason: str) -> Withdrawn:
    return Withdrawn(account, reason=reason)


def arrived_without_trust(error: BaseException) -> BaseException:
    return decode_error(encode_error(error), "", trusted=False)


def test_a_users_exception_keeps_its_class_its_text_and_its_plain_attributes() -> None:
    arrived = arrived_without_trust(Withdrawn(7, reason="by the bank"))
    assert type(arrived) is Withdrawn
    assert str(arrived) == "7 was withdrawn: by the bank"
    assert (arrived.account, arrived.details) == (7, {"reason": "by the bank", "rows": [1, 2]})


def test_a_class_that_the_driver_has_sent_by_value_is_found_again() -> None:
    class Local(Exception):
        pass

    from daft.pickle import dumps

    dumps(Local)  # as in a plan
    assert type(arrived_without_trust(Local("here"))) is Local


def arrived_where_unknown(source: str, *, trusted: bool = False) -> BaseException:
    """What arrives of the exception `error` of a module that only the worker has."""
    made = types.ModuleType("made_in_a_worker")
    sys.modules["made_in_a_worker"] = made
    try:
        exec(source, vars(made))
        encoded = encode_error(vars(made)["error"])
    finally:
        del sys.modules["made_in_a_worker"]
    return decode_error(encoded, "", trusted=trusted)


class Known(ValueError):
    """The driver has it."""


UNKNOWN = [
    ("class Absent(Exception): pass", TaskError),
    ("class Absent(BaseException): pass", TaskError),
    ("class Absent(ValueError): pass", ValueError),
    ("class Base(OSError): pass\nclass Absent(Base): pass", OSError),
    ("class Absent(ValueError, OSError): pass", ValueError),
    (f"from {__name__} import Known\nclass Absent(Known): pass", Known),
]


@BOTH
@pytest.mark.parametrize(("source", "kind"), UNKNOWN)
def test_a_class_that_the_driver_does_not_have_is_the_nearest_one_above_and_is_named(
    source: str, kind: type, trusted: bool
) -> None:
    arrived = arrived_where_unknown(f"{source}\nerror = Absent('row 3')", trusted=trusted)
    assert type(arrived) is kind
    assert str(arrived) == "made_in_a_worker.Absent: row 3"


def test_an_unknown_class_keeps_its_attributes_and_a_text_that_is_shown_by_its_repr() -> None:
    source = "class Absent(KeyError): pass\nerror = Absent('it\\'s\\nhere')\nerror.row = 3"
    arrived = arrived_where_unknown(source)
    assert type(arrived) is KeyError
    assert arrived.args[0].startswith("made_in_a_worker.Absent: ")
    assert vars(arrived) == {"row": 3}


class Unmade(ValueError):
    """As of an extension: Python's own base does not make it."""


def test_a_class_that_cannot_be_made_is_the_nearest_one_above(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_error(Unmade("2 fields are missing"))
    make = error_parts._make
    monkeypatch.setattr(error_parts, "_make", lambda kind, parts: None if kind is Unmade else make(kind, parts))
    arrived = decode_error(encoded, "", trusted=False)
    assert type(arrived) is ValueError
    assert str(arrived) == f"{__name__}.Unmade: 2 fields are missing"


class Detailed(ValueError):
    """Cannot tell its text without an attribute that is not plain."""

    def __init__(self, reason: str, detail: object = None) -> None:
        super().__init__(reason)
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.args[0]} at {self.detail.real}"  # type: ignore[attr-defined]


def test_a_class_that_cannot_tell_its_text_here_is_the_nearest_one_above() -> None:
    arrived = arrived_without_trust(Detailed("no", decimal.Decimal(3)))
    assert type(arrived) is ValueError
    assert str(arrived) == f"{__name__}.Detailed: no at 3"


class NotFound(ValueError, OSError):
    """Its memory has the layout of its second base."""


def test_a_class_of_two_bases_of_python_arrives_as_itself() -> None:
    arrived = arrived_without_trust(NotFound("no row 3"))
    assert (type(arrived), arrived.args) == (NotFound, ("no row 3",))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are of Python 3.11")
def test_a_member_that_the_driver_does_not_have_leaves_its_group_whole() -> None:
    source = "class Absent(Exception): pass\nerror = ExceptionGroup('two', [Absent('row 3'), ValueError('row 4')])"
    arrived: Any = arrived_where_unknown(source)
    assert type(arrived).__name__ == "ExceptionGroup"
    assert [(type(member), str(member)) for member in arrived.exceptions] == [
        (TaskError, "made_in_a_worker.Absent: row 3"),
        (ValueError, "row 4"),
    ]


@BOTH
@pytest.mark.parametrize("number", [10**5000, -(10**5000), 2**63], ids=["huge", "negative", "long"])
def test_integers_that_python_does_not_write_in_decimal_are_no_obstacle(number: int, trusted: bool) -> None:
    error = ValueError("no", number)
    error.rows = {"count": [number]}  # type: ignore[attr-defined]
    arrived = decode_error(encode_error(error), "", trusted=trusted)
    assert type(arrived) is ValueError
    assert vars(arrived)["rows"]["count"] == [number if trusted else hex(number)]
    answer = actor._error_answer(error)
    assert type(decode_error(answer.error, "", trusted=trusted)) is ValueError


def test_what_cannot_be_encoded_arrives_as_its_type_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    take_apart = error_parts.take_apart

    def unencodable(error: BaseException) -> ErrorParts:
        parts = take_apart(error)
        return parts if type(error) is TaskError else replace(parts, state={"odd": object()})

    monkeypatch.setattr(pickled_errors, "take_apart", unencodable)
    arrived = arrived_without_trust(ValueError("row 3"))
    assert type(arrived) is TaskError
    assert str(arrived) == "builtins.ValueError: row 3"


BUILTIN = [
    OSError(2, "No such file", "/nowhere"),
    KeyError("key"),
    ImportError("no module", name="x", path="/x.py"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    SyntaxError("bad", ("file.py", 3, 4, "text", 3, 5)),
    StopIteration(3),
    AttributeError("none"),
]


@pytest.mark.parametrize("error", BUILTIN, ids=lambda error: type(error).__name__)
def test_exceptions_of_python_arrive_whole(error: BaseException) -> None:
    arrived = arrived_without_trust(error)
    assert (type(arrived), str(arrived), arrived.args) == (type(error), str(error), error.args)
    for name in ("errno", "filename", "name", "path", "start", "value", "lineno"):
        assert getattr(arrived, name, None) == getattr(error, name, None)


def test_values_that_are_not_plain_arrive_as_text() -> None:
    error = ValueError("no", decimal.Decimal("1.5"))
    error.inner = KeyError("inner")  # type: ignore[attr-defined]
    arrived = arrived_without_trust(error)
    assert type(arrived) is ValueError
    assert type(vars(arrived)["inner"]) is KeyError
    assert "1.5" in str(arrived)


SPRUNG: list[str] = []


class Trap(Exception):
    """Everything that unpickling, or making an exception as usual, would run."""

    def __new__(cls, *arguments: object) -> Trap:
        SPRUNG.append("__new__")
        return super().__new__(cls, *arguments)

    def __init__(self, *arguments: object) -> None:
        SPRUNG.append("__init__")
        super().__init__(*arguments)

    def __setstate__(self, state: object) -> None:
        SPRUNG.append("__setstate__")

    def __setattr__(self, name: str, value: object) -> None:
        SPRUNG.append("__setattr__")

    def __reduce__(self) -> Any:
        return _spring, (Trap, self.args, {"command": "rm"})


def _spring(*arguments: object) -> Trap:
    SPRUNG.append("__reduce__")
    return Trap(*arguments)


def test_no_code_runs_but_that_of_its_text() -> None:
    error = Trap("harmless")
    vars(error)["command"] = "rm"
    encoded = encode_error(error)
    SPRUNG.clear()
    arrived = decode_error(encoded, "", trusted=False)
    assert SPRUNG == []
    assert (type(arrived), str(arrived), vars(arrived)) == (Trap, "harmless", {"command": "rm"})
    assert type(decode_error(encoded, "", trusted=True)) is Trap
    assert SPRUNG


NAMES = [
    ("os", "system"),
    ("builtins", "eval"),
    ("builtins", "object"),
    ("antigravity", "Anything"),
    ("", ""),
    ("daft_k8s.wire.error_parts", "sys.modules"),
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_what_is_no_exception_class_of_the_driver_is_only_named(module: str, name: str) -> None:
    parts = ErrorParts(module, name, "", ("x",), {}, "the text")
    before = set(sys.modules)
    arrived = decode_error(codec.encode(ErrorReport((parts,), b"")), "", trusted=False)
    assert type(arrived) is TaskError
    assert str(arrived) == f"{module}.{name}: the text"
    assert set(sys.modules) == before


MALFORMED = [
    ErrorReport((), b""),
    ErrorReport((3,), b""),  # type: ignore[arg-type]
    ErrorReport((ErrorParts(1, 2, 3, 4, 5, 6),), b""),  # type: ignore[arg-type]
    ErrorReport((ErrorParts("builtins", "ValueError", "", "x", [1], "t"),), b""),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("report", MALFORMED)
def test_malformed_parts_are_no_error_of_the_driver(report: ErrorReport) -> None:
    assert isinstance(decode_error(codec.encode(report), "told", trusted=False), Exception)


@BOTH
def test_bytes_longer_than_any_workers_are_not_read(trusted: bool) -> None:
    parts = error_parts.take_apart(ValueError("no"))
    longest = codec.encode(ErrorReport((replace(parts, text="x" * MOST_ERROR_BYTES),), b""))
    arrived = decode_error(longest, "the worker's words", trusted=trusted)
    assert (type(arrived), str(arrived)) == (TaskError, "the worker's words")
