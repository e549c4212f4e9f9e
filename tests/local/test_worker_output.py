"""Output of workers that comes over the connection of their driver, as that of Pods does. These are processes.

Not covered: Pods (tests/integration/test_worker_output.py), and the pipe of local workers (test_local_launcher.py).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.local.remote_driver import RemoteDriver

AS_IN_PODS = """
from daft_k8s.allocation import local, local_environment
of = local_environment.WorkerSettings.of
local_environment.WorkerSettings.of = lambda configuration, **own: of(
    configuration, **own, copy_output=int(configuration.worker_output)
)
local.LocalLauncher.on_output = lambda *_: None
"""

UDFS = """
import logging, subprocess

@daft.func
def speak(x: int) -> int:
    print(f"printed {x}")
    print(f"unended {x}", end="", file=sys.stderr)
    print(file=sys.stderr)
    logging.getLogger("mine").warning("warned %d", x)
    return x

@daft.cls(use_process=True)
class Apart:
    def __call__(self, x: int) -> int:
        print(f"printed apart {x}")
        return x

@daft.cls(max_concurrency=1)
class Actor:
    def __call__(self, x: int) -> int:
        print(f"printed by an actor {x}")
        subprocess.run(["echo", f"printed by its child {x}"], check=True)
        return x

@daft.func
def flood(x: int) -> int:
    for number in range(50_000):
        print(f"line {number} of {x}")
    return x

@daft.func
def waits(x: int) -> int:
    print("seen while it runs")
    end = time.monotonic() + 60
    while not os.path.exists(FLAG) and time.monotonic() < end:
        time.sleep(0.02)
    return x
"""


def driver_of(folder: Path, **options: Any) -> RemoteDriver:
    driver = RemoteDriver(folder, before=AS_IN_PODS, **options)
    driver.run(f"FLAG = {str(folder / 'flag')!r}")
    driver.run(UDFS)
    return driver


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    with driver_of(tmp_path) as driver:
        yield driver


def test_what_udfs_print_and_log_is_shown_with_the_name_of_their_worker(driver: RemoteDriver) -> None:
    for udf in ("speak", "Apart()", "Actor()"):
        driver.run(f"daft.from_pydict({{'x': [7]}}).select({udf}(col('x'))).collect()")
    for line in (
        "printed 7",
        "unended 7",
        r"2\S+ \S+ WARNING mine: warned 7",
        "printed apart 7",
        r"\[.*Actor.*\] printed by an actor 7",
        r"\[.*Actor.*\] printed by its child 7",
    ):
        driver.wait_for_log(rf"(?m)^\(worker-\d\) {line}$")


def test_a_flood_blocks_no_udf_and_each_line_is_shown_or_counted(driver: RemoteDriver) -> None:
    driver.send("""
import io
written = io.StringIO()
sys.stderr, kept = written, sys.stderr
try:
    daft.from_pydict({"x": [1, 2]}).into_partitions(2).select(flood(col("x"))).collect()
    end = time.monotonic() + 30
    while not all(f"line 49999 of {x}\\n" in written.getvalue() for x in (1, 2)) and time.monotonic() < end:
        time.sleep(0.05)
finally:
    sys.stderr = kept
answer = written.getvalue()
""")
    text = driver.reply().answer
    shown = re.findall(r"^\(worker-\d\) line (\d+) of (\d)$", text, re.MULTILINE)
    dropped = [int(count.replace(",", "")) for count in re.findall(r"\[([\d,]+) lines are not shown", text)]
    assert dropped, "more came than is shown in the time"
    assert len(shown) + sum(dropped) == 100_000
    assert {("0", "1"), ("0", "2"), ("49999", "1"), ("49999", "2")} <= set(shown)


def test_lines_right_before_the_end_of_the_script_are_shown(driver: RemoteDriver) -> None:
    driver.send("daft.from_pydict({'x': list(range(200))}).select(speak(col('x'))).collect()", last=True)
    assert driver.wait() == 0
    driver.wait_for_log(r"(?m)^\(worker-\d\) printed 199$")


def test_lines_are_shown_while_the_udf_that_printed_them_runs(driver: RemoteDriver, tmp_path: Path) -> None:
    driver.send("answer = daft.from_pydict({'x': [7]}).select(waits(col('x'))).to_pydict()['x']")
    driver.wait_for_log(r"(?m)^\(worker-\d\) seen while it runs$")
    assert not driver.has_replied()
    (tmp_path / "flag").touch()
    assert driver.reply().answer == [7]


def test_nothing_is_shown_where_the_option_is_off(tmp_path: Path) -> None:
    with driver_of(tmp_path, worker_output=False) as driver:
        driver.send("daft.from_pydict({'x': [7]}).select(speak(col('x'))).collect()", last=True)
        assert driver.wait() == 0
        assert "printed 7" not in driver.log()
