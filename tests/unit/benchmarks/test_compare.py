"""Covers the verdict on an answer: what counts as right, and that each kind of wrong answer is noticed.

Not covered: the queries themselves (test_tpch.py).
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from benchmarks.tpch.compare import Ordering, difference

BY_KEY = Ordering(keys=("k",))
ANY_ORDER = Ordering()


def table(**columns: object) -> pa.Table:
    return pa.table(columns)


def test_equal_tables_are_right():
    answer = table(k=[1, 2], name=["a", None], price=[Decimal("1.50"), Decimal("2.00")])
    assert difference(answer, answer, BY_KEY) is None


def test_empty_answers_are_right_only_where_the_reference_is_empty():
    empty, full = table(k=pa.array([], pa.int64())), table(k=[1])
    assert difference(empty, empty, BY_KEY) is None
    assert difference(empty, full, BY_KEY) == "0 rows, expected 1"
    assert difference(full, empty, BY_KEY) == "1 rows, expected 0"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(table(k=[1, 2], v=["a", "c"]), id="another value"),
        pytest.param(table(k=[1, 2], v=["a", None]), id="null for a value"),
        pytest.param(table(k=[1, 1], v=["a", "a"]), id="one row twice and one lost"),
        pytest.param(table(k=[2, 1], v=["b", "a"]), id="against the order"),
        pytest.param(table(k=[1], v=["a"]), id="a row too few"),
        pytest.param(table(k=[1, 2, 2], v=["a", "b", "b"]), id="a row too many"),
        pytest.param(table(k=[1, 2], w=["a", "b"]), id="another column"),
    ],
)
def test_a_wrong_answer_is_detected(answer: pa.Table):
    assert difference(answer, table(k=[1, 2], v=["a", "b"]), BY_KEY) is not None


def test_null_where_a_value_is_expected_and_the_reverse_are_wrong():
    for kind, value in [
        (pa.int64(), 0),
        (pa.string(), ""),
        (pa.float64(), 0.0),
        (pa.decimal128(15, 2), Decimal("0.00")),
    ]:
        null, zero = table(v=pa.array([None], kind)), table(v=pa.array([value], kind))
        assert difference(null, null, ANY_ORDER) is None
        assert difference(null, zero, ANY_ORDER) is not None
        assert difference(zero, null, ANY_ORDER) is not None


def test_rows_with_equal_keys_may_come_in_any_order():
    reference = table(k=[1, 1, 2], v=["a", "b", "c"])
    assert difference(table(k=[1, 1, 2], v=["b", "a", "c"]), reference, BY_KEY) is None
    assert difference(table(k=[1, 1, 2], v=["b", "b", "c"]), reference, BY_KEY) is not None
    assert difference(table(k=[1, 1, 2], v=["b", "c", "a"]), reference, BY_KEY) is not None


def test_without_order_by_rows_are_compared_as_a_multiset():
    reference = table(k=[1, 2, 2], v=["a", "b", "b"])
    assert difference(table(k=[2, 1, 2], v=["b", "a", "b"]), reference, ANY_ORDER) is None
    assert difference(table(k=[2, 1, 1], v=["b", "a", "a"]), reference, ANY_ORDER) is not None


def test_decimal_sums_must_be_equal_to_the_last_digit_but_may_have_another_scale():
    reference = table(s=[Decimal("12345678901234567890.10")])
    assert difference(table(s=[Decimal("12345678901234567890.1000")]), reference, ANY_ORDER) is None
    assert difference(table(s=[Decimal("12345678901234567890.11")]), reference, ANY_ORDER) is not None


def test_a_sum_in_floating_point_is_wrong_where_the_reference_is_exact():
    problem = difference(table(s=[1.5]), table(s=[Decimal("1.5")]), ANY_ORDER)
    assert problem is not None and "double" in problem


def test_integers_and_decimals_of_the_same_value_are_equal():
    assert difference(table(s=[Decimal("7.00")]), table(s=[7]), ANY_ORDER) is None


def test_averages_may_differ_by_a_millionth_of_their_size_and_no_more():
    reference = table(a=[1000.0])
    assert difference(table(a=[1000.0005]), reference, ANY_ORDER) is None
    assert difference(table(a=[1000.005]), reference, ANY_ORDER) is not None
    assert difference(table(a=[Decimal("1000.000")]), reference, ANY_ORDER) is None
    assert difference(table(a=[0.0]), table(a=[1e-9]), ANY_ORDER) is not None


def test_not_a_number_equals_only_itself():
    assert difference(table(a=[float("nan")]), table(a=[float("nan")]), ANY_ORDER) is None
    assert difference(table(a=[1.0]), table(a=[float("nan")]), ANY_ORDER) is not None
    assert difference(table(a=[float("nan")]), table(a=[1.0]), ANY_ORDER) is not None


def test_rows_that_tie_at_the_limit_may_stand_in_for_each_other():
    ordering = Ordering(keys=("k",), limit=2)
    reference = table(k=[1, 2, 2, 3], v=["a", "b", "c", "d"])  # one row beyond the tie
    assert difference(table(k=[1, 2], v=["a", "b"]), reference, ordering) is None
    assert difference(table(k=[1, 2], v=["a", "c"]), reference, ordering) is None
    assert difference(table(k=[1, 2], v=["a", "d"]), reference, ordering) is not None
    assert difference(table(k=[1, 3], v=["a", "d"]), reference, ordering) is not None
    assert difference(table(k=[1, 2, 2], v=["a", "b", "c"]), reference, ordering) is not None
    assert difference(table(k=[1], v=["a"]), reference, ordering) is not None


def test_one_row_of_a_tie_does_not_count_twice():
    ordering = Ordering(keys=("k",), limit=2)
    assert difference(table(k=[1, 1], v=["b", "b"]), table(k=[1, 1, 1], v=["a", "b", "c"]), ordering) is not None
