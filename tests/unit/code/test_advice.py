"""The advice about a module that is missing on a worker."""

from __future__ import annotations

import pytest

from daft_k8s.code.advice import missing_module, ways_to_ship


def caused_by(cause: BaseException) -> BaseException:
    outer = ValueError("outer")
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (ModuleNotFoundError("No module named 'a.b'", name="a.b"), "a.b"),
        (ModuleNotFoundError("it went", name="a"), "a"),
        (ModuleNotFoundError("ModuleNotFoundError: No module named 'a'", name=""), "a"),
        (RuntimeError("DaftError::PyO3Error ModuleNotFoundError: No module named 'c'"), "c"),
        (caused_by(ModuleNotFoundError("No module named 'd'", name="d")), "d"),
        (caused_by(RuntimeError("ModuleNotFoundError: No module named 'e'")), "e"),
        (ImportError("cannot import", name="f"), None),
        (ValueError("no module"), None),
    ],
)
def test_a_missing_module_is_found_in_what_was_raised(error: BaseException, module: str | None) -> None:
    assert missing_module(error) == module


def test_the_advice_names_the_module_and_the_three_ways() -> None:
    assert ways_to_ship("emoji.core.x", "worker-1", "/home/u/project") == (
        "the module 'emoji.core.x' is missing on worker-1 (the driver shipped the modules of /home/u/project, and it "
        "is not among them). If it is your own, put it beside the script or set working_dir to the folder that holds "
        "it; if it is published, pip=['emoji'] installs it when a worker starts; or set image to an image that has it"
    )
    assert "(the driver shipped no code)" in ways_to_ship("emoji", "worker-1", "")
