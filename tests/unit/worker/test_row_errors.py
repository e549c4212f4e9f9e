"""Where a UDF failed that Daft calls row by row. Not covered: the whole error (tests/local/test_error_words.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from daft_k8s.worker import row_errors
from daft_k8s.worker.row_errors import lines_of_rows


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    row_errors._failures.clear()


def fail(text: str) -> None:
    def of_a_user() -> None:
        raise ValueError(text)

    with pytest.raises(ValueError):
        row_errors._remembering(of_a_user)()


def test_the_line_of_the_row_that_is_named_is_told() -> None:
    fail("no price")
    fail("other")
    told = lines_of_rows("Error processing some rows:\n3: DaftError::PyO3Error ValueError: no price\n")
    head, frame, source = told.splitlines()[:1] + told.splitlines()[-2:]
    assert head == "the UDF failed here:"
    assert frame.startswith(f'  File "{Path(__file__)}", line ')
    assert frame.endswith(", in of_a_user")
    assert source == "    raise ValueError(text)"
    assert "row_errors.py" not in told.replace("test_row_errors.py", "")


@pytest.mark.parametrize("text", ["ValueError: no price", "3: DaftError::PyO3Error ValueError: never seen", ""])
def test_nothing_is_told_of_what_was_not_seen(text: str) -> None:
    fail("no price")
    assert lines_of_rows(text) == ""


def test_an_error_that_tells_its_lines_is_left_alone() -> None:
    fail("no price")
    text = "3: DaftError::PyO3Error ValueError: no price\n"
    assert lines_of_rows(text + lines_of_rows(text)) == ""


def test_what_is_remembered_is_bounded() -> None:
    for number in range(1_000):
        fail(str(number))
    assert len(row_errors._failures) <= row_errors._MOST_KEPT
    assert lines_of_rows("DaftError::PyO3Error ValueError: 999")
