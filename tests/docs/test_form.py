"""The form that the other tests of the documents rely on, and that both the forge and the site understand."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.docs.blocks import LANGUAGES, MARK, NOT_RUN, blocks, documents, prose

ITEM = re.compile(r"(?:[-*]|\d+\.) ")


@pytest.mark.parametrize("document", documents())
def test_every_block_names_its_language(document: str) -> None:
    assert [f"{block}: {block.language!r}" for block in blocks(document) if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("document", documents())
def test_every_mark_stands_before_a_block_and_gives_a_reason(document: str) -> None:
    marks = [line for _, line in prose(document) if MARK.match(line)]
    assert all(NOT_RUN.fullmatch(line) for line in marks)
    assert len(marks) == len([block for block in blocks(document) if block.not_run])


@pytest.mark.parametrize("document", documents())
def test_no_code_is_hidden_in_an_indentation(document: str) -> None:
    """Markdown takes a paragraph that is indented by four for code, which no test would find."""
    lines = prose(document)
    mistakes = [
        f"{document}:{number}"
        for (_, before), (number, line) in itertools.pairwise(lines)
        if line.startswith("    ") and not before.strip()
    ]
    assert mistakes == []


@pytest.mark.parametrize("document", documents())
def test_an_empty_line_stands_before_each_list_and_table(document: str) -> None:
    """The forge needs none, but the site makes one paragraph of it all."""
    lines = prose(document)
    mistakes = []
    for (_, before), (number, line) in itertools.pairwise(lines):
        begins_list = ITEM.match(line) and not ITEM.match(before) and not before.startswith("  ")
        begins_table = line.startswith("|") and not before.startswith("|")
        if before.strip() and (begins_list or begins_table):
            mistakes.append(f"{document}:{number}")
    assert mistakes == []
