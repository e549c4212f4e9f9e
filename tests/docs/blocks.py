"""The code blocks of the documents.

A block that cannot be run says so in the line before it: `<!-- not run: why -->`. It is still checked as far
as it can be without running it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"( *)```(.*)")
NOT_RUN = re.compile(r" *<!-- not run: (.+) -->")
MARK = re.compile(r" *<!-- *not[ -]run")
LANGUAGES = {"console", "dockerfile", "python", "sh", "text", "toml", "yaml"}
"""`text` is no code: a picture, an output, a list of files. `console` shows commands after `$ `, with their output."""


@dataclass(frozen=True)
class Block:
    """One block, and where it stands."""

    document: str
    line: int
    """The number of its first line of code."""
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Every document, from the root of the repository."""
    patterns = ("*.md", "charts/**/*.md", "docs/**/*.md")
    return [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


@cache
def blocks(document: str) -> tuple[Block, ...]:
    """The blocks of a document, in its order."""
    return tuple(_read(document, (ROOT / document).read_text()))


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all documents in these languages."""
    return [block for document in documents() for block in blocks(document) if block.language in languages]


def _read(document: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.fullmatch(lines[number])
        if opening is None:
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
        mark = NOT_RUN.fullmatch(lines[number - 1]) if number else None
        code = textwrap.dedent("\n".join(lines[number + 1 : end]))
        yield Block(document, number + 2, opening[2], code, mark[1] if mark else None)
        number = end + 1


def prose(document: str) -> list[tuple[int, str]]:
    """The lines outside of blocks, with their numbers."""
    inside, found = False, []
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if FENCE.fullmatch(line):
            inside = not inside
        elif not inside:
            found.append((number, line))
    return found
