"""Kubernetes quantities. Covered: every accepted form, refusals with their hints, exactness, round trips."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.config.quantities import MAX_BYTES, format_cpu, format_memory, parse_cpu, parse_memory, parse_quantity

BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("4Gi", 4 * 2**30),
        ("1.5Gi", 3 * 2**29),
        (".5Mi", 2**19),
        ("4.Gi", 4 * 2**30),
        ("4G", 4 * 10**9),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129E6", 129_000_000),
        ("1E", 10**18),
        ("129M", 129_000_000),
        ("128974848000m", 128974848),
        ("123Mi", 128974848),
        ("1e9", 10**9),
        ("1e-1", 1),
        ("1500m", 2),
        (" 2Gi ", 2 * 2**30),
        ("+1Ki", 1024),
        (2**30, 2**30),
        (1.5, 2),
        (0, 0),
        (1e9, 10**9),
        (str(MAX_BYTES), MAX_BYTES),
    ],
)
def test_memory_is_read_as_kubernetes_reads_it(written: object, size_bytes: int) -> None:
    assert parse_memory(written) == size_bytes


@pytest.mark.parametrize(
    ("written", "cores"),
    [
        ("500m", 0.5),
        ("2", 2.0),
        (1.5, 1.5),
        (2, 2.0),
        ("0.1", 0.1),
        (0.1, 0.1),
        ("1e1", 10.0),
        ("100u", 0.001),
        ("1n", 0.001),
    ],
)
def test_cpu_is_read_in_whole_thousandths_of_a_core(written: object, cores: float) -> None:
    assert parse_cpu(written) == cores


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("8 apples", "not a Kubernetes quantity"),
        ("", "not a Kubernetes quantity"),
        ("Gi", "not a Kubernetes quantity"),
        ("4GB", "perhaps 4G was meant"),
        ("4gb", "perhaps 4G was meant"),
        ("4GiB", "perhaps 4Gi was meant"),
        ("4 Gi", "perhaps 4Gi was meant"),
        ("4gi", "perhaps 4Gi was meant"),
        ("4K", "perhaps 4k was meant"),
        ("4 kilobytes", "not a Kubernetes quantity"),
        ("1_000", "not a Kubernetes quantity"),
        ("٤Gi", "not a Kubernetes quantity"),
        ("0x10", "not a Kubernetes quantity"),
        ("1e999999999", "not a Kubernetes quantity"),
        ("1e5Gi", "not a Kubernetes quantity"),
        ("9" * 65, "at most 64 characters"),
        ("nan", "not a Kubernetes quantity"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (True, "not bool"),
        (None, "not NoneType"),
        (["4Gi"], "not list"),
        ("-1", "not negative"),
        (-1, "not negative"),
        ("8Ei", "larger than Kubernetes can hold"),
        ("1e30", "larger than Kubernetes can hold"),
    ],
)
def test_what_is_no_memory_is_refused_with_the_reason(written: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_memory(written)
    assert reason in str(caught.value)


@pytest.mark.parametrize("written", ["-1", -0.5, "2 cores", "1e30", False])
def test_what_is_no_number_of_cores_is_refused(written: object) -> None:
    with pytest.raises(ValueError):
        parse_cpu(written)


@given(st.integers(0, MAX_BYTES))
def test_formatted_memory_reads_back_as_the_same_bytes(size_bytes: int) -> None:
    assert parse_memory(format_memory(size_bytes)) == size_bytes


@given(st.integers(1, 2**20), st.sampled_from(sorted(BINARY)))
def test_memory_is_formatted_with_the_largest_unit_that_is_exact(count: int, suffix: str) -> None:
    text = format_memory(count * 1024 ** BINARY[suffix])
    assert len(text) <= len(f"{count}{suffix}")


@given(st.integers(0, 10**9))
def test_formatted_cores_read_back_as_the_same_cores(thousandths: int) -> None:
    assert parse_cpu(format_cpu(thousandths / 1000)) == thousandths / 1000


@given(st.decimals(0, 10**6, places=6), st.sampled_from(sorted(BINARY)))
def test_binary_suffixes_are_exact_powers_of_1024(number: object, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == Fraction(str(number)) * 1024 ** BINARY[suffix]


@given(st.decimals(0, 10**6, places=6), st.sampled_from(sorted(DECIMAL)))
def test_decimal_suffixes_are_exact_powers_of_ten(number: object, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == Fraction(str(number)) * Fraction(10) ** DECIMAL[suffix]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.integers())))
def test_anything_is_either_a_size_or_a_value_error(written: object) -> None:
    try:
        size = parse_memory(written)
    except ValueError:
        return
    assert isinstance(size, int)
    assert 0 <= size <= MAX_BYTES


def test_a_quantity_has_up_to_64_characters_and_a_machine_up_to_a_million_cores() -> None:
    assert parse_quantity("0" * 63 + "1") == 1
    assert parse_cpu(10**6) == 10**6
    with pytest.raises(ValueError):
        parse_cpu(10**6 + 1)
