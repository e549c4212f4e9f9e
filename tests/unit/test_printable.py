"""Text of others on a terminal. Not covered: which texts pass through here, which is each room's own test."""

from __future__ import annotations

import io
from typing import TextIO, cast

import pytest

from daft_k8s.printable import for_terminal, is_terminal, printable

ATTACKS = [
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;root@prod\x07",  # sets the window's title
    "\x1b]52;c;cm0gLXJmIH4=\x07",  # fills the clipboard
    "\x9b31m",  # an escape sequence in one character
    "\x08\x08\x08",
    "\u202egnp.exe",  # shows a name backwards
    "a\u2028(worker-1) b",
    "\ud800",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    for found in (printable(text), printable(text, lines=True), for_terminal(text)):
        assert found.isprintable()
        assert found.isascii() or found == text


def test_text_of_people_stays_as_it_is() -> None:
    text = "Größe\t日本語 👩‍🔬 مرحبا"
    assert printable(text) == for_terminal(text) == text
    assert printable("a\nb", lines=True) == "a\nb"
    assert printable("a\nb\r") == "a\\nb\\r"


def test_a_line_keeps_its_colours_and_they_end_with_it() -> None:
    assert for_terminal("\x1b[1;31mred") == "\x1b[1;31mred\x1b[m"
    assert for_terminal("\x1b[31m\x1b[2J") == "\x1b[31m\\x1b[2J\x1b[m"


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert for_terminal("10%\r20%\r30%\r") == "30%"


class Broken:
    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


def test_what_is_no_terminal_is_none() -> None:
    assert not is_terminal(None)
    assert not is_terminal(io.StringIO())
    assert not is_terminal(cast("TextIO", Broken()))
    assert is_terminal(cast("TextIO", type("Terminal", (), {"isatty": lambda self: True})()))
