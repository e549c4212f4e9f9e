"""The mutation score of each pure room, from what mutmut and cargo-mutants have left behind (scripts/mutation.sh).

A survivor that no test can catch, or none should, has a line in scripts/mutation_explained.txt and does not count. Ends
with an error if a room's score is below the goal; the survivors that count are in .make/survivors.txt.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPLAINED = ROOT / "scripts" / "mutation_explained.txt"
SURVIVORS = ROOT / ".make" / "survivors.txt"
GOAL = 90.0
ROOMS = {
    "config": "daft_k8s/config/",
    "kube.objects": "daft_k8s/kube/objects/",
    "kube.pods": "daft_k8s/kube/pods/",
    "code": "daft_k8s/code/",
    "core": "rust_ext/core/",
}
_MUTMUT = {1: "caught", 3: "caught", 0: "missed", 33: "missed", -24: "timeout", 24: "timeout", 36: "timeout"}
"""The exit codes that mutmut keeps; 33: no test of the room calls the function."""
_CARGO = {"CaughtMutant": "caught", "MissedMutant": "missed", "Timeout": "timeout", "Unviable": "unviable"}


@dataclass(frozen=True)
class Mutant:
    """One change, and what the tests made of it."""

    path: str
    change: str
    result: str


def mutmut_mutants() -> Iterator[Mutant]:
    for meta in sorted((ROOT / "mutants").rglob("*.meta")):
        source = meta.with_suffix("")
        results = json.loads(meta.read_text())["exit_code_by_key"]
        functions = _functions(source) if any(code in (0, 33) for code in results.values()) else {}
        for key, code in results.items():
            if code is None:
                continue  # not in the sample
            result = _MUTMUT.get(code, "caught")
            change = _change(functions, key.rpartition(".")[2]) if result == "missed" else ""
            yield Mutant(str(source.relative_to(ROOT / "mutants")), change, result)


def cargo_mutants() -> Iterator[Mutant]:
    found = ROOT / "target" / "mutation" / "mutants.out" / "outcomes.json"
    if not found.exists():
        return
    for outcome in json.loads(found.read_text())["outcomes"]:
        if outcome["scenario"] != "Baseline":
            mutant = outcome["scenario"]["Mutant"]
            change = re.sub(r"^[^ ]+: ", "", mutant["name"])
            yield Mutant(mutant["file"], change, _CARGO[outcome["summary"]])


def _functions(source: Path) -> dict[str, list[str]]:
    """The lines of every function that mutmut has written."""
    text = source.read_text()
    lines = text.splitlines()
    return {
        node.name: lines[node.lineno - 1 : node.end_lineno]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _change(functions: dict[str, list[str]], mutant: str) -> str:
    original = mutant.rpartition("__mutmut_")[0] + "__mutmut_orig"
    name = mutant.rpartition("__mutmut_")[0].replace("xǁ", "").replace("ǁ", ".").removeprefix("x_")
    # Each begins with its own name, in one line or in the first of some.
    before, after = ([line.replace(function, name) for line in functions[function]] for function in (original, mutant))
    diff = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if line[:3] not in ("---", "+++")]
    sides = (" ".join(line[1:].strip() for line in diff if line.startswith(sign)) for sign in "-+")
    return f"{name}: {' => '.join(sides)}"


def explanations() -> list[tuple[str, re.Pattern[str]]]:
    """The files and the changes that are explained: lines `files :: changes`, each below a comment with the reason."""
    lines = [line for line in EXPLAINED.read_text().splitlines() if line and not line.startswith("#")]
    pairs = (line.split(" :: ", 1) for line in lines)
    return [(files, re.compile(changes)) for files, changes in pairs]


def main() -> None:
    explained = explanations()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for mutant in (*mutmut_mutants(), *cargo_mutants()):
        result = mutant.result
        if result == "missed":
            if any(fnmatch(mutant.path, files) and pattern.search(mutant.change) for files, pattern in explained):
                result = "explained"
            else:
                survivors.append(f"{mutant.path}: {mutant.change}")
        room = next((name for name, folder in ROOMS.items() if mutant.path.startswith(folder)), "other")
        counts[room][result] += 1
    SURVIVORS.write_text("".join(f"{line}\n" for line in survivors))
    columns = ("caught", "timeout", "missed", "explained", "unviable")
    print(f"{'room':14}{'mutants':>9}" + "".join(f"{column:>11}" for column in columns) + f"{'score':>9}")
    below = []
    for room, count in counts.items():
        caught = count["caught"] + count["timeout"]
        score = 100.0 * caught / max(1, caught + count["missed"])
        print(f"{room:14}{count.total():9}" + "".join(f"{count[column]:11}" for column in columns) + f"{score:8.1f}%")
        if score < GOAL:
            below.append(room)
    print(f"The {len(survivors)} survivors that are not explained are in {SURVIVORS.relative_to(ROOT)}.")
    if not counts:
        sys.exit("No mutant was tried.")
    if below:
        sys.exit(f"Below {GOAL:.0f} %: {', '.join(below)}.")


if __name__ == "__main__":
    main()
