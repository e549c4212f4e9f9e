"""The images' recipes and their lock file. Not covered: that they build and run (tests/integration runs in one)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("Dockerfile", "Dockerfile.gpu")


def recipe(name: str) -> str:
    return (ROOT / "images" / name).read_text()


def test_the_lock_file_has_all_that_daft_k8s_needs_in_a_pod() -> None:
    """An image is built with `--no-deps`: what is missing here fails its build (make lock)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["kubernetes"]]
    lock = (ROOT / "requirements" / "image.txt").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    names = {re.split(r"[^A-Za-z0-9_-]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names <= locked


def test_every_locked_package_has_hashes() -> None:
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements" / "image.txt").read_text().strip())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_runs_as_the_user_of_the_runners_pods_behind_an_entry_point_for_signals(name: str) -> None:
    from daft_k8s.kube.objects.pod_parts import USER_ID

    last = recipe(name).rpartition("\nFROM ")[2]
    assert f"USER {USER_ID}:{USER_ID}" in last
    assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in last
    assert "HEALTHCHECK" not in recipe(name)


def test_a_release_is_the_last_layer_and_everything_before_it_does_not_see_the_wheel() -> None:
    for name in RECIPES:
        final = recipe(name).rpartition("\nFROM ")[2]
        copies = re.findall(r"^COPY .*", final, re.MULTILINE)
        assert copies[-1] == "COPY --from=release /release /", name
        assert "dist/" not in recipe(name).partition(" AS release")[0].partition("\nFROM ")[2], name


def test_both_images_install_the_same_things_in_the_same_way() -> None:
    """What the recipes share cannot be included; so it is compared."""

    def commands(name: str, stage: str) -> str:
        text = recipe(name).partition(f" AS {stage}\n")[2].partition("\n# ------")[0]
        return re.sub(r"\s+", " ", re.sub(r"^#.*$", "", text[text.index("COPY ") :], flags=re.MULTILINE))

    for stage in ("dependencies", "release"):
        assert commands("Dockerfile", stage) == commands("Dockerfile.gpu", stage)


def test_both_images_start_in_the_same_way_and_set_the_same_variables() -> None:
    """That for GPUs sets more, which its base image's tools read."""

    def variables(name: str) -> set[str]:
        last = recipe(name).rpartition("\nFROM ")[2].replace("\\\n", " ")
        return set(" ".join(re.findall(r"^ENV (.*)", last, re.MULTILINE)).split())

    def start(name: str) -> list[str]:
        return re.findall(r"^(?:USER|WORKDIR|ENTRYPOINT|CMD) .*", recipe(name).rpartition("\nFROM ")[2], re.MULTILINE)

    assert start("Dockerfile") == start("Dockerfile.gpu")
    assert "PYTHONUNBUFFERED=1" in variables("Dockerfile")
    assert {
        name for name in variables("Dockerfile.gpu") ^ variables("Dockerfile") if not name.startswith("NVIDIA_")
    } == set()


def test_the_builder_is_sent_what_the_recipes_copy_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    for name in RECIPES:
        for source in re.findall(r"^COPY (?!--from)(.*) \S+$", recipe(name), re.MULTILINE):
            for path in source.split():
                sent = path.replace("daft_k8s-", "").replace("compile_imported", "*")
                assert f"!{sent}" in ignored, path


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_leaves_byte_code_that_nobody_asked_for(name: str) -> None:
    before_pip = recipe(name).partition("bin/pip install")[0]
    assert "ENV PYTHONDONTWRITEBYTECODE=1" in before_pip
