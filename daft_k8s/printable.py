"""Text of others, made harmless for a terminal. Pure.

UDFs, workers and objects of the cluster may hold escape sequences, which would clear the screen, set the window's title
or paste text. Other characters would let a line seem to be another one.
"""

from __future__ import annotations

import re
from typing import TextIO

_DANGEROUS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters; a tab and a line's end do no harm
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # writing directions, which show text in another order
    r"\u2028\u2029"  # further ends of lines
    r"\ud800-\udfff"  # halves of characters, which cannot be encoded
)
_IN_TEXT = re.compile(f"[{_DANGEROUS}]")
_IN_LINE = re.compile(f"[\n{_DANGEROUS}]")
_COLOUR = re.compile(r"(\x1b\[[0-9;]{0,32}m)")
_PLAIN = "\x1b[m"


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with dangerous characters as Python writes them: `\x1b`.

    Args:
        text: Any text.
        lines: True if the text may have several lines; else their ends are dangerous, too.
    """
    if text.isprintable():
        return text
    return (_IN_TEXT if lines else _IN_LINE).sub(lambda found: _escaped(found[0]), text)


def for_terminal(line: str) -> str:
    """A line of a log as a terminal may show it: its colours stay, and of a progress bar the last state.

    What precedes a carriage return would be overwritten, and with it the name of the worker that stands before a line.
    """
    last = line.rstrip("\r").rpartition("\r")[2]
    if last.isprintable():
        return last
    parts = _COLOUR.split(last)
    text = "".join(part if number % 2 else printable(part) for number, part in enumerate(parts))
    return text + _PLAIN if len(parts) > 1 else text


def is_terminal(stream: TextIO | None) -> bool:
    """True for a stream that a person watches; one that is closed, or of any class, is none."""
    try:
        return stream is not None and stream.isatty()
    except Exception:
        return False


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
