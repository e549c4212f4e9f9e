"""Operations on users' exceptions: none of them raises, as misbehaved as an exception may be."""

from __future__ import annotations

import pytest

from daft_k8s.errors import TaskError
from daft_k8s.wire import raised
from daft_k8s.wire.raised import CarriedError
from tests.local.hostile_exceptions import EXCEPTIONS, PROTOCOL, WORDS, ClassRaises, EqRaises, NothingToSee, StrRaises


def caught(name: str) -> BaseException:
    try:
        raise EXCEPTIONS[name]()
    except BaseException as error:
        return error


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_nothing_that_is_asked_of_an_exception_raises(name: str) -> None:
    error = caught(name)
    assert raised.headline(error).encode()
    assert "Traceback (most recent call last)" in raised.traceback_of(error)
    assert raised.causes_of(error)[0] is error
    assert raised.uncarried(CarriedError(CarriedError(error))) is error
    assert raised.is_ordinary(raised.ordinary(CarriedError(error)))
    assert str(CarriedError(error)) == raised.headline(error)
    raised.attribute_of(error, "name")
    raised.add_note(error, "a note")
    assert raised.traceback_of(error).encode()


@pytest.mark.parametrize("name", PROTOCOL)
def test_an_exception_on_which_python_acts_becomes_the_cause_of_a_runtime_error(name: str) -> None:
    error = caught(name)
    replaced = raised.ordinary(error)
    assert isinstance(replaced, RuntimeError)
    assert type(replaced) is TaskError
    assert str(replaced) == f"{name}: {WORDS}"
    assert replaced.__cause__ is error


def test_any_other_exception_stays_itself() -> None:
    for error in (ValueError("no"), ClassRaises("no"), EqRaises("no")):
        assert raised.ordinary(error) is error


def test_an_exception_without_a_text_is_told_by_its_arguments() -> None:
    assert WORDS in raised.text_of(StrRaises(WORDS))
    assert WORDS in raised.traceback_of(NothingToSee(WORDS))
    assert "ArithmeticError" in raised.text_of(StrRaises(WORDS))


def test_causes_that_go_round_in_a_circle_are_each_told_once() -> None:
    assert len(raised.causes_of(caught("a_cycle"))) == 2
    assert len(raised.causes_of(caught("its_own_cause"))) == 1


def test_a_long_text_keeps_its_beginning_and_its_end_and_says_what_is_missing() -> None:
    text = raised.printable("begin" + "x" * 1_000_000 + "end")
    assert len(text) < raised.MOST_CHARACTERS + 100
    assert text.startswith("begin")
    assert text.endswith("end")
    assert f"{1_000_008 - raised.MOST_CHARACTERS:,} characters are left out" in text


def test_a_function_that_carries_changes_nothing_but_what_it_raises() -> None:
    assert raised.carrying(int)("5") == 5
    with pytest.raises(CarriedError) as told:
        raised.carrying(int)("five")
    assert type(told.value.error) is ValueError
