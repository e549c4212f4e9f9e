"""What UDFs print and log on Pods comes to the driver. Its limits and last lines: tests/local/test_worker_output.py."""

from __future__ import annotations

import re

from tests.integration.cluster import Namespace

SCRIPT = """
import logging

@daft.func
def speak(x: int) -> int:
    print(f"printed {x}", flush=True)
    logging.getLogger("mine").warning("warned %d", x)
    return x

@daft.func
def flood(x: int) -> int:
    for number in range(50_000):
        print(f"line {number} of {x}")
    return x

def run(udf):
    daft.from_pydict({"x": [1, 2]}).into_partitions(2).select(udf(col("x"))).collect()

session = use(worker_output=SHOWN)
say(session=session.session_id)
run(speak)
begun = time.monotonic()
run(flood)
say(seconds=time.monotonic() - begun)
run(speak)  # right before the end
"""


def test_what_udfs_print_and_log_on_pods_comes_to_the_driver(namespace: Namespace) -> None:
    driver = namespace.start(SCRIPT.replace("SHOWN", "True"))
    assert driver.finish()["seconds"] < 30
    log = driver.log()
    for line in ("printed 1", "printed 2", r".* WARNING mine: warned 1.*"):
        assert len(re.findall(rf"(?m)^\(worker-\d\) {line}$", log)) == 2, f"{line}\n{log[-5000:]}"
    shown = re.findall(r"(?m)^\(worker-\d\) line \d+ of \d$", log)
    dropped = [int(count.replace(",", "")) for count in re.findall(r"\[([\d,]+) lines are not shown", log)]
    assert len(shown) + sum(dropped) == 100_000


def test_nothing_of_pods_is_shown_where_the_option_is_off(namespace: Namespace) -> None:
    driver = namespace.start(SCRIPT.replace("SHOWN", "False").replace("run(flood)", ""))
    driver.finish()
    assert "printed 1" not in driver.log()
