"""Each message about a wrong option as a whole: what people read was written on purpose.

`whole_messages.txt` is written by `python -m tests.unit.config.test_whole_messages`; a change of it is to be read like
one of the code.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from daft_k8s.config import load
from daft_k8s.errors import ConfigurationError
from tests.unit.config.test_mistakes import CONTRADICTIONS, WRONG

ANEW = "if that is wanted: python -m tests.unit.config.test_whole_messages"
WRITTEN = Path(__file__).with_name("whole_messages.txt")


def message(here: Path, *, accepted: bool = True, **arguments: object) -> str:
    """The message, with or without the accepted values, which docs/configuration.md has as well."""
    try:
        load(arguments, environ={}, cwd=here)
    except ConfigurationError as error:
        text = str(error).replace(str(here), "HERE").partition("\n")[2]
        return text.replace(". Accepted: ", ".\n      Accepted: ") if accepted else text.partition(". Accepted: ")[0]
    raise AssertionError(f"{arguments} was accepted")


def files(here: Path) -> list[str]:
    """Templates that cannot be read."""
    (here / "list.json").write_text("[1]")
    (here / "broken.json").write_text('{"spec":\n  {]}')
    (here / "broken.yaml").write_text("spec:\n  a: [1\n  b: 2\n")
    (here / "latin.yml").write_bytes(b"spec: \xff")
    return ["list.json", "broken.json", "broken.yaml", "latin.yml", "none.yml"]


def messages(here: Path) -> str:
    wrong: list[dict[str, object]] = [{option: value} for option, value, _ in WRONG]
    wrong += [{"pod_template": name} for name in files(here)]
    together = [{"allocation": "pod", **arguments} for arguments, _ in CONTRADICTIONS]
    lines = [message(here, accepted=False, **arguments) for arguments in wrong]
    return "\n".join([*lines, *(message(here, **arguments) for arguments in together)]) + "\n"


def test_a_message_reads_as_it_is_written_down(here: Path) -> None:
    assert messages(here).splitlines() == WRITTEN.read_text(encoding="utf-8").splitlines(), ANEW


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        WRITTEN.write_text(messages(Path(folder)), encoding="utf-8")
