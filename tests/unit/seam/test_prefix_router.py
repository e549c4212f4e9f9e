"""Which engine gets which prompts. Daft's own router, of which the rule is taken, is asked beside ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.seam.prefix_router import PrefixRouter

ENGINES = ["a", "b", "c"]


def test_prompts_of_one_prefix_go_to_one_engine() -> None:
    router = PrefixRouter(ENGINES, 100)
    first = {prefix: router.choose(prefix, 10, ENGINES) for prefix in ("x", "y", "z")}
    assert sorted(first.values()) == ENGINES, "new prefixes are spread"
    assert {prefix: router.choose(prefix, 10, ENGINES) for prefix in ("z", "x", "y")} == first


def test_no_engine_is_left_behind_for_the_sake_of_a_prefix() -> None:
    router = PrefixRouter(ENGINES, 100)
    chosen = [router.choose("x", 60, ENGINES) for _ in range(30)]
    loads = [60 * chosen.count(engine) for engine in ENGINES]
    assert max(loads) - min(loads) < 100 + 60


def test_prompts_without_a_common_prefix_go_to_the_engine_that_got_least() -> None:
    router = PrefixRouter(ENGINES, 100)
    assert [router.choose(None, size, ENGINES) for size in (5, 3, 4, 1, 9)] == ["a", "b", "c", "b", "b"]


def test_an_engine_that_is_away_gets_nothing_even_if_it_knows_the_prefix() -> None:
    router = PrefixRouter(ENGINES, 100)
    assert router.choose("x", 1, ENGINES) == "a"
    assert router.choose("x", 1, ["b", "c"]) == "b"
    assert router.choose("x", 1, ENGINES) in ("a", "b")


def test_a_prefix_that_was_not_seen_lately_is_forgotten() -> None:
    router = PrefixRouter(["a", "b"], 1000)
    assert router.choose("x", 1, ["a", "b"]) == "a"
    for number in range(8):
        assert router.choose(f"p{number}", 1, ["a"]) == "a"
    assert router.choose("x", 1, ["a", "b"]) == "b"


@given(st.lists(st.integers(1, 50), max_size=40))
def test_the_choice_is_dafts_own_for_prompts_without_a_prefix(sizes: list[int]) -> None:
    vllm = pytest.importorskip("daft.execution.vllm")
    daft, ours = vllm.PrefixRouter([None] * 3, 100), PrefixRouter(ENGINES, 100)
    for size in sizes:
        assert ENGINES[daft.route(None, size)] == ours.choose(None, size, ENGINES)
