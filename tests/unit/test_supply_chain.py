"""The parts of CI and releases: actions by commit, a list of each wheel's crates, and the audit of the locks.

Not covered: that a commit is that of the version in its comment, and what the lists of weaknesses say (`make audit`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")


def uses() -> list[str]:
    lines = [line for path in WORKFLOWS for line in path.read_text().splitlines()]
    return [line.partition("uses:")[2].strip() for line in lines if "uses:" in line]


def test_every_action_is_used_by_commit_with_its_version_as_a_comment() -> None:
    assert len(uses()) > 20
    assert [used for used in uses() if not PINNED.fullmatch(used)] == []


def test_an_action_is_the_same_commit_everywhere() -> None:
    commits = defaultdict(set)
    for used in uses():
        action, _, commit = used.partition("@")
        commits[action].add(commit)
    assert {action: found for action, found in commits.items() if len(found) > 1} == {}


def test_newer_actions_and_base_images_are_proposed_each_week() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    places = {update["package-ecosystem"]: update["directory"] for update in updates}
    assert places["github-actions"] == "/"
    assert list((ROOT / places["docker"].strip("/")).glob("Dockerfile*"))
    assert list((ROOT / places["pip"].strip("/")).glob("*.txt"))


def test_wheels_list_their_crates_and_a_release_checks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["maturin"]["sbom"]
    assert settings == {"rust": True, "auditwheel": True}
    assert ".dist-info/sboms/" in (ROOT / ".github" / "workflows" / "release.yml").read_text()


WEAK = {"name": "oldlib", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


def audit(folder: Path, *, report: object, ci: bool) -> subprocess.CompletedProcess[str]:
    """Runs scripts/audit.sh with stand-ins of both tools; pip-audit writes `report`, or nothing if it got no answer."""
    for name in ("scripts/audit.sh", "requirements/audit.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    tools = folder / ".venvs" / "audit" / "bin"
    tools.mkdir(parents=True)
    shutil.copy(ROOT / "requirements" / "audit.txt", tools.parent / "installed.txt")
    (tools / "python").symlink_to(sys.executable)
    script = f"import pathlib, sys\nargs = sys.argv\nreport = {json.dumps(report)!r}\n"
    script += "if report != 'null':\n    pathlib.Path(args[args.index('--output') + 1]).write_text(report)\n"
    script += "print('the service is away', file=sys.stderr)\nsys.exit('vulns' in report or report == 'null')\n"
    for path, text in ((tools / "pip-audit", f"#!{sys.executable}\n{script}"), (folder / "cargo", "#!/bin/sh\n")):
        path.write_text(text)
        path.chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **({"CI": "1"} if ci else {})}
    return subprocess.run(
        [folder / "scripts" / "audit.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("ci", [True, False])
def test_an_audit_passes_where_nothing_is_known(tmp_path: Path, ci: bool) -> None:
    result = audit(tmp_path, report={"dependencies": [{"name": "lib", "version": "1"}]}, ci=ci)
    assert (result.returncode, "requirements/image.txt" in result.stdout) == (0, True), result.stdout + result.stderr


@pytest.mark.parametrize("ci", [True, False])
def test_an_audit_fails_for_a_weakness_and_names_it_with_the_version_to_take(tmp_path: Path, ci: bool) -> None:
    result = audit(tmp_path, report={"dependencies": [WEAK]}, ci=ci)
    assert result.returncode == 1
    assert "oldlib 1.0: PYSEC-1, mended in 1.1" in result.stdout


@pytest.mark.parametrize("ci", [True, False])
def test_an_audit_without_answers_fails_in_ci_and_is_told_elsewhere(tmp_path: Path, ci: bool) -> None:
    result = audit(tmp_path, report=None, ci=ci)
    assert result.returncode == int(ci)
    assert "not asked  requirements/image.txt: pip-audit got no answer: the service is away" in result.stdout
