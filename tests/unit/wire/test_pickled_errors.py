"""The form in which users' exceptions travel."""

from __future__ import annotations

import pickle

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire.pickled_errors import MOST_ERROR_BYTES, decode_error, encode_error
from tests.local.hostile_exceptions import EXCEPTIONS


class OddError(Exception):
    """Pickles, but not back."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def test_an_exception_arrives_as_itself_with_its_causes() -> None:
    arrived = decode_error(encode_error(raised(ValueError("no"), raised(KeyError("deep")))), "")
    assert isinstance(arrived, ValueError)
    assert isinstance(arrived.__cause__, KeyError)


def test_plain_unpickling_gives_the_exception_too() -> None:
    assert isinstance(pickle.loads(encode_error(ValueError("no"))), ValueError)


def test_an_exception_that_does_not_unpickle_arrives_as_its_type_and_text() -> None:
    arrived = decode_error(encode_error(raised(OddError("left", "right"))), "")
    assert isinstance(arrived, TaskError)
    assert str(arrived).endswith("OddError: left and right")


def test_an_exception_that_cannot_be_pickled_arrives_as_its_type_and_text() -> None:
    error = ValueError("no")
    error.extra = (number for number in range(3))  # type: ignore[attr-defined]
    assert str(decode_error(encode_error(error), "")) == "builtins.ValueError: no"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_survives_the_journey_or_arrives_as_its_type_and_text(name: str) -> None:
    error = EXCEPTIONS[name]()
    encoded = encode_error(error)
    assert len(encoded) <= MOST_ERROR_BYTES
    arrived = decode_error(encoded, "the worker's words")
    assert type(arrived).__qualname__.rpartition(".")[2] == type(error).__name__ or type(arrived) is TaskError


def test_a_huge_exception_arrives_shortened_and_says_so() -> None:
    arrived = decode_error(encode_error(ValueError("the beginning" + "x" * MOST_ERROR_BYTES + "the end")), "")
    assert type(arrived) is TaskError
    for words in ("builtins.ValueError: the beginning", "characters are left out", "the end"):
        assert words in str(arrived)


def test_without_an_exception_the_message_is_the_error() -> None:
    for nothing in (b"", b"not a pickle"):
        arrived = decode_error(nothing, "worker-0 said no")
        assert isinstance(arrived, TaskError)
        assert str(arrived) == "worker-0 said no"
