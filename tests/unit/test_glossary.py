"""The glossary: its terms are used, and the words that it replaces are not.

Not covered: Rust's names inside macros; words with a second, plain meaning, which a reviewer judges.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "glossary.md"
TEXTS = ("daft_k8s/**/*.py", "daft_k8s/**/*.pyi", "rust_ext/*/src/**/*.rs", "protos/**/*.proto", "docs/*.md", "*.md",
         "charts/**/*.md", "charts/**/*.yaml", "charts/**/*.tpl", "charts/**/*.txt")  # fmt: skip
ALLOWED_NAMES = {
    "home": {"daft_k8s/path_rules.py"},  # the user's home folder
    "hear": {"rust_ext/net/src/tls/transport.rs"},
    "tell": {"rust_ext/session/src/driver/drops.rs"},
    "words": {"rust_ext/session/src/driver/task.rs"},
}
"""Words of names, with the files where they have their plain meaning."""
ALLOWED_TEXTS = {"stranger": {"docs/security.md", "rust_ext/net/src/tls/problem.rs"}}
"""Words, with the files that may still use them: the name of a test, and of an error."""
HISTORY = {"CHANGELOG.md"}
RUST_NAME = re.compile(r"^ *(?:pub(?:\([a-z]+\))? )?(?:const |async )*(?:fn|struct|enum|trait|type|mod) (\w+)", re.M)


def rows(heading: str, number: int = 0) -> list[tuple[str, ...]]:
    """The rows of a section's table, without its head."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    tables = [list(group) for group in re.findall(r"((?:^\|.*\n)+)", section, re.MULTILINE)]
    lines = "".join(tables[number]).splitlines()[2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def words(heading: str, number: int = 0) -> list[str]:
    """The single terms of a table's first column."""
    return [term.strip() for cell, *_ in rows(heading, number) for term in cell.split(",")]


def forms(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z]){word}(?:s|ed|d|es|ing)?(?![a-z])", re.IGNORECASE)


@cache
def texts() -> dict[str, str]:
    """Code and documents by path, without the glossary, the tests of Rust, and what is generated."""
    paths = {path for pattern in TEXTS for path in ROOT.glob(pattern)}
    kept = sorted(path for path in paths if path != PAGE and not {"proto", "tests"} & set(path.parts))
    return {
        str(path.relative_to(ROOT)): path.read_text().partition("#[cfg(test)]\nmod ")[0]
        for path in kept
        if path.name not in HISTORY and path.name != "tests.rs"
    }


@cache
def definitions(path: str) -> tuple[str, ...]:
    """Names of a file: the module, its functions and its types."""
    text = texts()[path]
    names = [Path(path).stem]
    if path.endswith(".rs"):
        names += RUST_NAME.findall(text)
    elif path.endswith((".py", ".pyi")):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        names += [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return tuple(names)


def parts(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("term", words("Our terms"))
def test_a_term_of_ours_occurs_outside_the_glossary(term: str) -> None:
    word = re.compile(rf"\b{term.partition(' of a ')[0].replace(' ', '[ _]')}", re.IGNORECASE)
    assert any(word.search(text) for path, text in texts().items() if path.startswith(("daft_k8s", "rust_ext", "docs")))


@pytest.mark.parametrize("word", words("Words not used"))
def test_a_word_that_the_glossary_replaces_is_not_used(word: str) -> None:
    found = [
        f"{path}: {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for path, text in texts().items()
        if word in text.lower() and path not in ALLOWED_TEXTS.get(word, set())
        for match in forms(word).finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize("word", words("Words not used", 1))
def test_a_word_that_names_avoid_is_in_no_name(word: str) -> None:
    found = [
        f"{path}: {name}"
        for path in texts()
        for name in definitions(path)
        if word in parts(name) and path not in ALLOWED_NAMES.get(word, set())
    ]
    assert found == []


def test_no_term_is_explained_twice_and_no_term_is_a_word_that_is_not_used() -> None:
    ours = words("Our terms")
    assert len(set(ours)) == len(ours)
    assert not set(ours) & {*words("Words not used"), *words("Words not used", 1)}


def test_every_exception_is_needed() -> None:
    for word, paths in ALLOWED_NAMES.items():
        for path in paths:
            assert any(word in parts(name) for name in definitions(path)), path


def test_forms_of_a_word_are_found_and_longer_words_are_not() -> None:
    assert forms("judge").search("it was judged") and forms("dare").search("as you dare")
    assert not forms("bury").search("canterbury") and not forms("seat").search("seatbelt")
    assert parts("tell_once") == {"tell", "once"} and parts("FindHome") == {"find", "home"}
