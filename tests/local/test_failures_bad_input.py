"""What a user may get wrong is refused with one clear message; a refused session has started nothing.

Not covered: the words about each single option (tests of the configuration), workers that cannot start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.remote_driver import OPTIONS, RemoteDriver, files_below

IMPORT = "import os, sys, threading, daft_k8s"


@pytest.fixture(scope="module")
def refused_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refused")


@pytest.fixture(scope="module")
def newcomer(refused_folder: Path) -> Iterator[RemoteDriver]:
    """A driver without a session; what is refused leaves it as it was, so all refusals can be tried on one."""
    with RemoteDriver(refused_folder, session=False) as driver:
        driver.run(IMPORT)
        yield driver


def assert_refused(driver: RemoteDriver, options: dict[str, object], error: str, words: str) -> None:
    driver.send(f"daft_k8s.set_runner_k8s(**{ ({'spill_dir': str(driver.spill_dir), **options})!r})")
    reply = driver.reply()
    assert reply.error == error, reply
    assert re.search(words, reply.text, re.DOTALL), reply.text
    assert driver.processes() == []
    assert files_below(driver.spill_dir) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"worker_memroy": "1Gi"}, r"worker_memroy.*unknown option.*worker_memory"),
        ({"worker_memory": "8 apples"}, r"worker_memory='8 apples'"),
        ({"num_workers": 0}, r"num_workers=0.*1"),
        ({"num_workers": -1}, r"num_workers=-1"),
        ({"allocation": "slurm"}, r"allocation='slurm'.*local.*pod"),
        ({"preset": "fast"}, r"preset='fast'.*development.*production"),
    ],
    ids=lambda value: "-".join(f"{name}={given}" for name, given in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_refused(newcomer: RemoteDriver, options: dict[str, object], words: str) -> None:
    assert_refused(newcomer, options, "ConfigurationError", words)


def test_several_mistakes_are_told_at_once(newcomer: RemoteDriver) -> None:
    options: dict[str, object] = {"num_workers": 0, "worker_memory": "8 apples", "nonsense": 1}
    assert_refused(newcomer, options, "ConfigurationError", r"(?=.*num_workers)(?=.*apples)(?=.*nonsense)")


def test_a_malformed_file_is_refused_by_its_name(newcomer: RemoteDriver, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("num_workers = [")
    assert_refused(newcomer, {"config_file": str(file)}, "ConfigurationError", r"mine\.toml.*malformed TOML")


def test_a_driver_outside_the_cluster_is_told_to_name_an_image(newcomer: RemoteDriver) -> None:
    assert_refused(newcomer, {"allocation": "pod"}, "ConfigurationError", r"image is not set.*outside the cluster")


def test_a_driver_that_was_refused_can_still_make_a_session(newcomer: RemoteDriver, tmp_path: Path) -> None:
    # The last use of this driver.
    newcomer.run(f"session = daft_k8s.set_runner_k8s(**{ ({'spill_dir': str(tmp_path), **OPTIONS})!r})")
    assert newcomer.run("import daft; answer = daft.range(10).count_rows()") == 10
    newcomer.run("session.shutdown()")


def test_an_unsupported_daft_is_refused_naming_both_sides(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, session=False, before=f"{IMPORT}, daft; daft.__version__ = '0.8.1'") as driver:
        assert_refused(driver, OPTIONS, "VersionMismatchError", r"daft 0\.8\.1 is installed.*daft>=0\.7\.16,<0\.8")


def test_a_runner_comes_too_late_after_a_native_query(tmp_path: Path) -> None:
    before = f"{IMPORT}, daft; daft.range(3).collect()"
    with RemoteDriver(tmp_path, session=False, before=before) as driver:
        assert_refused(
            driver, OPTIONS, "ConfigurationError", r"already uses Daft's native runner.*call set_runner_k8s be"
        )


def test_a_second_session_with_other_settings_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        before = driver.workers()
        options = {**OPTIONS, "spill_dir": str(driver.spill_dir)}
        driver.send(f"daft_k8s.set_runner_k8s(**{ ({**options, 'num_workers': 3})!r})")
        reply = driver.reply()
        assert reply.error == "ConfigurationError"
        assert "num_workers was 2, now 3" in reply.text
        assert driver.run(f"answer = daft_k8s.set_runner_k8s(**{options!r}) is session")
        assert driver.run("answer = df.count_rows()") == 10_000
        assert driver.workers() == before


def test_options_without_effect_are_warned_about(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, namespace="team", image="registry/image") as driver:
        assert re.search(r'Ignored, because workers are local.*namespace, image.*allocation="pod"', driver.log())


def test_a_udf_that_raises_is_told_with_the_users_traceback_and_its_task(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.send("""
@daft.func.batch(return_dtype=daft.DataType.int64())
def broken(values):
    raise ZeroDivisionError("the user's own words")

df.with_column("c", broken(col("id"))).collect()
""")
        reply = driver.reply()
        assert reply.error == "ZeroDivisionError"
        for words in (r"ZeroDivisionError: the user's own words", r"in broken", r"task \d+ \(.*UDF", r"on worker-\d"):
            assert re.search(words, reply.text), (words, reply.text)
        assert driver.run("answer = df.count_rows()") == 10_000


def test_an_error_that_cannot_be_pickled_still_arrives_with_its_text(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.send("""
class Stubborn(Exception):
    def __reduce__(self):
        raise TypeError("not this one")

@daft.func.batch(return_dtype=daft.DataType.int64())
def broken(values):
    raise Stubborn("the user's own words")

df.with_column("c", broken(col("id"))).collect()
""")
        reply = driver.reply()
        assert reply.error == "Stubborn", reply
        for words in (r"Stubborn: the user's own words", r"in broken", r"task \d+ \(.*UDF", r"on worker-\d"):
            assert re.search(words, reply.text), (words, reply.text)


def test_a_result_that_cannot_be_pickled_is_an_error_that_names_the_column(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.send("""
@daft.func(return_dtype=daft.DataType.python())
def lock(value):
    import threading
    return threading.Lock()

df.with_column("guard", lock(col("id"))).collect()
""")
        reply = driver.reply()
        assert reply.error == "TaskError", reply
        words = r"task \d+ .* on worker-\d failed: column 'guard'.*cannot be pickled"
        assert re.search(words, reply.text), reply.text
        assert driver.run("answer = df.count_rows()") == 10_000


def test_a_udf_sees_nothing_of_the_workers_own_settings(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, env={"USERS_OWN": "1"}) as driver:
        answer = driver.run("""
@daft.func(return_dtype=daft.DataType.string())
def look(value):
    from daft_k8s.config import load
    load({})
    return " ".join(sorted(name for name in os.environ if name.startswith(("DAFT_K8S_", "USERS_"))))

answer = daft.range(1).select(look(col("id")).alias("names")).to_pydict()["names"]
""")
        assert answer == ["USERS_OWN"]
        # The kernel keeps the variables that the worker was started with.
        names = driver.run("""
@daft.func(return_dtype=daft.DataType.string())
def look_deeper(value):
    with open("/proc/self/environ") as started_with:
        return " ".join(sorted(entry.partition("=")[0] for entry in started_with.read().split(chr(0))))

answer = daft.range(1).select(look_deeper(col("id")).alias("names")).to_pydict()["names"]
""")
        assert "DAFT_K8S_INTERNAL_TOKEN_FD" in names[0].split()
        assert "DAFT_K8S_INTERNAL_TOKEN" not in names[0].split()
