"""Hooks of mkdocs (mkdocs.yml): what lies outside docs/ becomes part of the site, and links lead there.

The documents are written to be read in the repository, with links between files of the repository. For the site,

- the documents of PAGES are pages, too;
- a link to another file of the repository, such as an example, leads to a copy of that file below `files/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "README.md": "index.md",  # a link to it leads to the start; it is no page itself
    "charts/daft/README.md": "chart.md",
}
"""Documents outside docs/, and what they are called on the site."""

FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)(\[[^\]]*\])\(([^)\s]+)\)")


def place_on_site(repository_path: str) -> str:
    """Where a file of the repository is on the site, from the site's root."""
    if repository_path in PAGES:
        return PAGES[repository_path]
    if repository_path.startswith("docs/"):
        return repository_path.removeprefix("docs/")
    return f"files/{repository_path}"


def links_of(document: str, text: str) -> list[str]:
    """The files of the repository that a document links to."""
    found = []
    for part in FENCE.split(text)[::2]:
        for _, target in LINK.findall(part):
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                found.append(posixpath.normpath(posixpath.join(posixpath.dirname(document), path)))
    return found


def with_links_of_the_site(document: str, text: str) -> str:
    """The text of a document with links that lead to places on the site."""
    here = posixpath.dirname(place_on_site(document)) or "."

    def rewrite(match: re.Match[str]) -> str:
        words, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return match[0]
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
        return f"{words}({posixpath.relpath(place_on_site(leads_to), here)}{hash_sign}{anchor})"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(rewrite, part) for part in parts[::2]]
    return "".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and the copies."""
    from mkdocs.structure.files import File

    documents = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    for path, name in PAGES.items():
        if files.get_file_from_path(name) is None:
            documents[path] = (ROOT / path).read_text()
            files.append(File.generated(config, name, content=documents[path]))
    linked = {link for document, text in documents.items() for link in links_of(document, text)}
    for path in sorted(linked):
        place = place_on_site(path)
        if place.startswith("files/") and (ROOT / path).is_file():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the page's links."""
    sources = {name: path for path, name in PAGES.items() if path != "README.md"}
    return with_links_of_the_site(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"), markdown)
