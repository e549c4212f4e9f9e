"""The form in which users' exceptions travel."""

from __future__ import annotations

import decimal
import pickle
import sys
import types
from typing import Any

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire import codec
from daft_k8s.wire.error_parts import ErrorParts
from daft_k8s.wire.pickled_errors import MOST_ERROR_BYTES, ErrorReport, decode_error, encode_error
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
def test_an_exception_that_does_not_unpickle_arrives_as_its_type_and_text(trusted: bool) -> None:
    arrived = decode_error(encode_error(raised(OddError("left", "right"))), "", trusted=trusted)
    assert isinstance(arrived, TaskError)
    assert str(arrived).endswith("OddError: left and right")


@BOTH
def test_an_exception_that_cannot_be_pickled_arrives_as_its_type_and_text(trusted: bool) -> None:
    error = ValueError("no")
    error.extra = (number for number in range(3))  # type: ignore[attr-defined]
    assert str(decode_error(encode_error(error), "", trusted=trusted)) == "builtins.ValueError: no"


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


def test_a_class_that_the_driver_does_not_have_is_named() -> None:
    made = types.ModuleType("made_in_a_worker")
    exec("class Absent(ValueError): pass", vars(made))
    sys.modules["made_in_a_worker"] = made
    try:
        encoded = encode_error(vars(made)["Absent"]("row 3"))
    finally:
        del sys.modules["made_in_a_worker"]
    arrived = decode_error(encoded, "", trusted=False)
    assert type(arrived) is TaskError
    assert str(arrived) == "made_in_a_worker.Absent: row 3"


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
