"""The language of the code: openings of docstrings, of their entries and of Rust's doc comments.

Not covered: docstrings of tests; sentences after the first, which a reviewer reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = re.compile(r"(What|Whether|Which|Who|Whom|Whose|Where|How|It|That|Those)\b")
"""A docstring opens with a noun or a verb. These words make the reader ask for the noun."""
ENTRY = re.compile(r"\s+\w+: (.*)")
"""A line of a section such as `Args:` or `Raises:`."""
PREDICATE = re.compile(r"_?(is|has|can|was|are)_")


def documented(tree: ast.Module) -> Iterator[tuple[ast.AST, int, str]]:
    """Docstrings of modules, classes and functions, and of the attributes and constants above them."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in node.body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    owner = node if statement is node.body[0] else statement
                    yield owner, statement.lineno, text.strip()


def python_docstrings() -> Iterator[tuple[str, ast.AST, str]]:
    for path in sorted((ROOT / "daft_k8s").rglob("*.py*")):
        if path.suffix in (".py", ".pyi"):
            for owner, line, text in documented(ast.parse(path.read_text())):
                yield f"{path.relative_to(ROOT)}:{line}", owner, text


def rust_doc_comments() -> Iterator[tuple[str, str]]:
    """The first line of each run of `///` or `//!`."""
    for path in sorted((ROOT / "rust_ext").rglob("*.rs")):
        if "proto" in path.parts:
            continue  # generated
        inside = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r"\s*//[/!] ?(.*)", line)
            if found and not inside:
                yield f"{path.relative_to(ROOT)}:{number}", found[1]
            inside = bool(found)


def test_no_docstring_opens_with_a_question_or_a_pronoun() -> None:
    assert [f"{where}: {text[:60]}" for where, _, text in python_docstrings() if QUESTIONS.match(text)] == []


def test_no_argument_or_error_is_described_by_a_question_or_a_pronoun() -> None:
    mistakes = [
        f"{where}: {line.strip()[:60]}"
        for where, _, text in python_docstrings()
        for line in text.splitlines()
        if (entry := ENTRY.match(line)) and QUESTIONS.match(entry[1])
    ]
    assert mistakes == []


def test_no_doc_comment_of_rust_opens_with_a_question_or_a_pronoun() -> None:
    assert [f"{where}: {text[:60]}" for where, text in rust_doc_comments() if QUESTIONS.match(text)] == []


def test_the_docstring_of_a_predicate_says_when_it_is_true() -> None:
    mistakes = [
        f"{where}: {owner.name}: {text[:60]}"
        for where, owner, text in python_docstrings()
        if isinstance(owner, (ast.FunctionDef, ast.AsyncFunctionDef))
        and PREDICATE.match(owner.name)
        and owner.returns is not None
        and ast.unparse(owner.returns) == "bool"
        and not text.startswith("True ")
    ]
    assert mistakes == []


def test_the_rules_find_what_they_look_for() -> None:
    tree = ast.parse('"""What it is."""\nX = 1\n"""How many."""\ndef is_new() -> bool:\n    """Tries it."""\n')
    assert [text for _, _, text in documented(tree)] == ["What it is.", "How many.", "Tries it."]
    assert QUESTIONS.match("What it is.")
    assert not QUESTIONS.match("Items of a list.")
