"""Checks that the documents tell the truth where a machine can tell.

- every relative link and anchor leads somewhere;
- every `make` target that a document names exists;
- every `daft_k8s.module` that a document names exists;
- docs/errors.md has a section for each error class, and no other;
- docs/configuration.md is what the configuration's own declarations say, docs/commands.md what the commands' do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout whose environment is not linked yet, too

from daft_k8s import errors  # noqa: E402
from daft_k8s.config import markdown  # noqa: E402
from scripts import cli_reference  # noqa: E402

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE_TARGET = re.compile(r"`make ([a-z][a-z-]*)")
MODULE = re.compile(r"`(daft_k8s(?:\.[a-z_]+)+)`")


def documents() -> list[Path]:
    return [path for pattern in ("*.md", "charts/**/*.md", "docs/**/*.md") for path in sorted(ROOT.glob(pattern))]


@cache
def anchors(document: Path) -> set[str]:
    text = FENCE.sub("", document.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}


def broken_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        leads_to = (document.parent / path).resolve() if path else document
        if not leads_to.exists():
            yield f"the link to {target} leads nowhere"
        elif anchor and leads_to.suffix == ".md" and anchor not in anchors(leads_to):
            yield f"{target}: there is no such heading"


def unknown_targets(document: Path) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in MAKE_TARGET.findall(document.read_text()):
        if target not in targets:
            yield f"`make {target}`: there is no such target"


def unknown_modules(document: Path) -> Iterator[str]:
    public = {"daft_k8s.__version__", "daft_k8s.set_runner_k8s", "daft_k8s.shutdown"}
    for name in MODULE.findall(document.read_text()):
        path = ROOT / name.replace(".", "/")
        if (
            name not in public
            and not path.is_dir()
            and not any(path.with_suffix(end).exists() for end in (".py", ".pyi"))
        ):
            yield f"`{name}`: there is no such module"


def mistakes_in_errors_page() -> Iterator[str]:
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    page = (ROOT / "docs" / "errors.md").read_text()
    described = {title.strip("`") for title in re.findall(r"^## (`\w+`)", page, re.MULTILINE)}
    for name in sorted(classes - described):
        yield f"{name} is not described"
    for name in sorted(described - classes):
        yield f"{name} is described, but does not exist"


def stale_configuration_page() -> Iterator[str]:
    page = ROOT / "docs" / "configuration.md"
    if not page.exists() or page.read_text().strip() != markdown.page().strip():
        yield "not what daft_k8s.config says; run: make docs"


def stale_commands_page() -> Iterator[str]:
    page = ROOT / "docs" / "commands.md"
    if not page.exists() or page.read_text() != cli_reference.page():
        yield "not what daft_k8s.cli says; run: python scripts/cli_reference.py > docs/commands.md"


def main() -> int:
    mistakes = [
        f"{document.relative_to(ROOT)}: {mistake}"
        for document in documents()
        for check in (broken_links, unknown_targets, unknown_modules)
        for mistake in check(document)
    ]
    mistakes += [f"docs/errors.md: {mistake}" for mistake in mistakes_in_errors_page()]
    mistakes += [f"docs/configuration.md: {mistake}" for mistake in stale_configuration_page()]
    mistakes += [f"docs/commands.md: {mistake}" for mistake in stale_commands_page()]
    for mistake in mistakes:
        print(mistake)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
