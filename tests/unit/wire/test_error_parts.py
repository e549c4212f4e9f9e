"""Exceptions taken apart: the work is bounded, whatever they hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daft_k8s.wire import codec
from daft_k8s.wire.error_parts import _CODE_WORK, _MOST_WORK, ErrorParts, put_together, take_apart

EDGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=400)
KINDS = st.lists(st.sampled_from(["list", "dict", "error", "counted"]), min_size=2, max_size=41)


class Counted(ValueError):
    """Counts how often its text is asked for."""

    asked = 0

    def __str__(self) -> str:
        Counted.asked += 1
        return "counted"


def graph(kinds: list[str], edges: list[tuple[int, int]]) -> BaseException:
    """An exception that holds values which hold each other, in circles too."""
    made: dict[str, Any] = {"list": list, "dict": dict, "error": ValueError, "counted": Counted}
    nodes: list[Any] = [Counted(), *(made[kind]() for kind in kinds)]
    for number, (start, end) in enumerate(edges):
        holder, held = nodes[start % len(nodes)], nodes[end % len(nodes)]
        if type(holder) is list:
            holder.append(held)
        else:
            (holder if type(holder) is dict else vars(holder))[f"edge {number}"] = held
    root: BaseException = nodes[0]
    return root


def values_in(value: Any) -> int:
    if type(value) is ErrorParts:
        return 1 + values_in(value.arguments) + values_in(value.state)
    if type(value) in (list, tuple):
        return 1 + sum(values_in(item) for item in value)
    if type(value) is dict:
        return 1 + sum(1 + values_in(item) for item in value.values())
    return 1


@settings(deadline=None)
@given(KINDS, EDGES)
def test_the_work_is_bounded_for_any_graph(kinds: list[str], edges: list[tuple[int, int]]) -> None:
    Counted.asked = 0
    parts = take_apart(graph(kinds, edges))
    assert Counted.asked <= 1 + _MOST_WORK / _CODE_WORK
    assert values_in(parts) <= 4 * _MOST_WORK
    assert type(put_together(codec.decode(codec.encode(parts)))) is Counted


def test_children_that_point_back_are_taken_once() -> None:
    root: Any = Counted()
    root.context = [Counted() for _ in range(9)]
    for child in root.context:
        child.parent = root
    Counted.asked = 0
    parts = take_apart(root)
    assert Counted.asked == 10
    assert [child.state for child in parts.state["context"]] == [{"parent": "<Counted: the one that holds this>"}] * 9


def test_a_value_that_stands_twice_is_taken_twice() -> None:
    rows = [1, 2]
    error: Any = ValueError("no")
    error.rows, error.first = rows, rows
    assert take_apart(error).state == {"rows": [1, 2], "first": [1, 2]}


def test_all_children_that_hold_each_other_cost_a_bounded_number_of_texts() -> None:
    errors: list[Any] = [Counted() for _ in range(15)]
    for error in errors:
        error.context = errors
    Counted.asked = 0
    take_apart(errors[0])
    assert Counted.asked <= 1 + _MOST_WORK / _CODE_WORK


def test_lists_that_hold_one_list_many_times_cost_bounded_work() -> None:
    nested: list[Any] = [0]
    for _ in range(60):
        nested = [nested, nested]
    error: Any = ValueError("no")
    error.nested = nested
    assert values_in(take_apart(error)) <= 4 * _MOST_WORK


def test_more_values_than_a_report_is_made_for_are_left_out_and_it_says_so() -> None:
    error: Any = ValueError(*range(_MOST_WORK + 1))
    error.rows = list(range(_MOST_WORK))
    error.few = [1, 2, 3]
    parts = take_apart(error)
    assert parts.arguments == (parts.text,)
    holder: Any = ValueError("no")
    holder.rows, holder.few = error.rows, error.few
    assert take_apart(holder).state == {
        "rows": "<list: left out of an exception that holds too much>",
        "few": [1, 2, 3],
    }
    back = put_together(parts)
    assert type(back) is ValueError
    assert str(back) == parts.text


def test_a_deep_error_whose_class_is_unknown_is_put_together_in_bounded_time() -> None:
    parts = ErrorParts("nowhere", "Absent", "", ("x",), {}, "innermost", (("builtins", "ValueError", ""),))
    for depth in range(60):
        parts = ErrorParts("nowhere", "Absent", "", ("x",), {"inner": parts}, f"{depth}", parts.bases)
    made: Any = put_together(parts)
    assert type(made) is ValueError
    assert type(made.inner.inner) is ValueError
