"""Every command that a document shows exists, with these options, files and targets.

Where helm is installed, the chart is rendered with the values that a block gives it.

Not covered: what it does. The quick start on a cluster is run by tests/integration/test_docs.py; the commands
themselves have tests of their own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, all_blocks, blocks, documents, prose
from tests.docs.commands import check, command_lines, commands

SHELL = all_blocks("sh", "console")
INLINE = re.compile(r"`(daft-k8s [^`]+)`")
MADE = re.compile(r"[Ss]ave (?:this|it) as `([^`]+)`|cat > (\S+)")


def files_made_on(document: str) -> set[str]:
    """Files that the page tells its reader to make, and those that stand for the reader's own."""
    text = "\n".join([line for _, line in prose(document)] + [block.text for block in blocks(document)])
    return {"job.py", "script.py", "train.py", "report.ipynb"} | {one or other for one, other in MADE.findall(text)}


@pytest.mark.parametrize("block", [block for block in SHELL if block.not_run is None], ids=str)
def test_every_command_of_a_block_could_be_run(block: Block) -> None:
    made = files_made_on(block.document)
    seen = 0
    for line in command_lines(block):
        for words in commands(line):
            check(words, made)
            seen += 1
    assert seen


@pytest.mark.parametrize("document", documents())
def test_every_command_in_the_text_exists(document: str) -> None:
    for number, line in prose(document):
        for command in INLINE.findall(line):
            if "COMMAND" not in command and "..." not in command:
                for words in commands(command):
                    try:
                        check(words, files_made_on(document))
                    except AssertionError as error:
                        raise AssertionError(f"{document}:{number}: {error}") from error


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("block", [block for block in SHELL if "helm install" in block.text], ids=str)
def test_the_chart_renders_as_a_block_installs_it(block: Block, tmp_path: Path) -> None:
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    for name in files_made_on(block.document):
        (tmp_path / name).write_text("print(1)\n")
    for line in command_lines(block):
        for words in commands(line):
            if words[:2] == ["helm", "install"]:
                done = subprocess.run(
                    ["helm", "template", "--kube-version", "1.34.0", *words[2:]],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                assert done.returncode == 0, done.stderr
                assert "kind: Job" in done.stdout
