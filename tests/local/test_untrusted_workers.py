"""A worker that was taken over, against the driver: code in exceptions, in columns and in reports.

The worker is played by UDFs that change their own process. Not covered: what such a worker may do to other workers,
which run the user's code of any task (docs/security.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local import driver_process

START = """
import os, sys
import daft, daft_k8s
MARK = {mark!r}

class Trap:
    def __reduce__(self):
        return open, (MARK, "w")

daft_k8s.set_runner_k8s(allocation="local", num_workers=1, worker_cpu=1, worker_memory="512Mi", trust_workers={trust})
"""

IN_AN_EXCEPTION = """
@daft.func
def work(x: int) -> int:
    import daft.pickle
    import daft_k8s.worker.task_runner as runner
    from daft_k8s.wire import codec
    from daft_k8s.wire.error_parts import take_apart
    from daft_k8s.wire.pickled_errors import ErrorReport
    report = ErrorReport((take_apart(LookupError("row 1")),), daft.pickle.dumps(Trap()))
    runner.encode_error = lambda error: codec.encode(report)
    raise ValueError
"""

IN_A_COLUMN = """
@daft.func
def work(x: int) -> int:
    import daft_k8s.worker.task_outputs as outputs
    import daft_k8s.wire.arrow_partitions as partitions
    from daft.recordbatch import MicroPartition
    forged = MicroPartition.from_pydict({"x": [Trap()]})._micropartition
    whole = partitions.to_arrow
    outputs.to_arrow = lambda partition: whole(forged)
    return x
"""

END = """
try:
    print(daft.from_pydict({"x": [1]}).select(work(daft.col("x"))).to_pydict())
except BaseException as error:
    print(type(error).__name__, "|", error)
print("sprung" if os.path.exists(MARK) else "safe")
daft_k8s.shutdown()
"""


def run(tmp_path: Path, attack: str, *, trust: bool) -> list[str]:
    script = START.format(mark=str(tmp_path / "mark"), trust=trust) + attack + END
    done = driver_process.run(script)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("attack", [IN_AN_EXCEPTION, IN_A_COLUMN], ids=["exception", "column"])
def test_a_worker_that_was_taken_over_runs_no_code_in_the_driver(tmp_path: Path, attack: str) -> None:
    told, end = run(tmp_path, attack, trust=False)
    assert end == "safe"
    if attack is IN_AN_EXCEPTION:
        assert told == "LookupError | row 1"
    else:
        assert "holds Python objects, and the schema of the query has none" in told


@pytest.mark.parametrize("attack", [IN_AN_EXCEPTION, IN_A_COLUMN], ids=["exception", "column"])
def test_it_does_where_the_user_trusts_the_workers(tmp_path: Path, attack: str) -> None:
    assert run(tmp_path, attack, trust=True)[-1] == "sprung"
