"""UDFs with actors on real workers: how often they are constructed, what happens when one dies, and that none is left.

Not covered: GPUs beyond the variable that names them, constructors that take minutes, workers in Pods.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.local.checkpoint import Checkpoint
from tests.local.remote_driver import RemoteDriver, Reply, poll, send_signal, wait_until_gone

ROWS, PARTITIONS = 10_000, 50

# Each construction leaves a file, whose name ends with the process' id.
MODEL = """
@daft.cls(max_concurrency={actors})
class Model:
    def __init__(self, folder):
        self.state = bytearray(1 << 20)
        self.folder = folder
        time.sleep({construction})
        open(os.path.join(folder, f"{{time.monotonic_ns()}}-{{os.getpid()}}"), "w").close()

    @daft.method.batch(return_dtype=daft.DataType.int64())
    def predict(self, values):
        Checkpoint(os.path.join(self.folder, "hold"), holds={holds}).pass_by()
        {body}
        return [value * 2 for value in values.to_pylist()]

os.makedirs({folder!r}, exist_ok=True)
rows = daft.range({rows}, partitions={partitions})
model = Model({folder!r})
"""
# Defined in the driver's __main__, so that it travels with the UDF.
KILL_ONCE = """
def kill_once():
    import os, signal
    try:
        os.close(os.open({mark!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill({whom}, signal.SIGKILL)
    signal.pause()
"""
PREDICT = "answer = sum(rows.with_column('doubled', model.predict(col('id'))).to_pydict()['doubled'])"
RIGHT = 2 * sum(range(ROWS))


def model(folder: Path, *, actors: int = 4, construction: float = 0.5, holds: int = 0, body: str = "pass") -> str:
    return MODEL.format(
        folder=str(folder),
        actors=actors,
        construction=construction,
        holds=holds,
        body=body,
        rows=ROWS,
        partitions=PARTITIONS,
    )


def constructions(folder: Path) -> list[int]:
    """The process ids of all constructions, in order."""
    return [int(path.name.rpartition("-")[2]) for path in sorted(folder.glob("*-*"))]


def actor_processes(driver: RemoteDriver) -> list[int]:
    found = []
    for child in driver.processes():
        try:
            if "daft_k8s.worker.actor" in child.cmdline():
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def assert_none_left(driver: RemoteDriver, seconds: float = 30.0) -> None:
    poll(lambda: actor_processes(driver) == [], seconds, "actors are left")


def failed_construction(folder: Path, body: str, *, timeout_seconds: int = 30, actors: int = 2) -> tuple[Reply, str]:
    """What a query with a constructor of this body gives, and the driver's log."""
    step = f"""
import signal
@daft.cls(max_concurrency={actors})
class Broken:
    def __init__(self):
        {body}

    @daft.method(return_dtype=daft.DataType.int64())
    def predict(self, value: int):
        return value

broken = Broken()
with daft.execution_config_ctx(actor_udf_ready_timeout={timeout_seconds}):
    df.with_column('p', broken.predict(col('id'))).collect()
"""
    with RemoteDriver(folder) as driver:
        driver.send(step)
        reply = driver.reply()
        assert_none_left(driver)
        assert driver.run("answer = df.count_rows()") == ROWS, "the session is not usable any more"
        return reply, driver.log()


def test_each_actor_is_constructed_once_for_many_partitions(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path, worker_cpu=2) as driver:
        assert driver.run(model(folder) + PREDICT) == RIGHT
        assert len(set(constructions(folder))) == len(constructions(folder)) == 4
        assert_none_left(driver)


def test_an_actor_that_is_killed_is_constructed_once_more_and_no_row_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path, worker_cpu=2) as driver:
        checkpoint = Checkpoint(folder / "hold")
        driver.send(model(folder, holds=1) + PREDICT)
        (pid,) = checkpoint.wait_for_arrivals()
        send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = driver.reply()
        assert (reply.answer, reply.error) == (RIGHT, None), reply
        assert len(constructions(folder)) == 5
        assert_none_left(driver)


def test_a_call_that_always_kills_its_actor_fails_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path) as driver:
        driver.send(model(folder, actors=1, construction=0, body="os._exit(7)") + PREDICT)
        reply = driver.reply()
        assert reply.error is not None
        assert "exited with code 7" in reply.text
        assert len(constructions(folder)) <= 5
        assert_none_left(driver)


def test_what_an_actor_raises_arrives_as_it_was_raised(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        raising = model(tmp_path / "made", actors=1, construction=0, body="raise LookupError('no such thing')")
        driver.send(raising + PREDICT)
        reply = driver.reply()
        assert reply.error == "LookupError", reply
        assert "LookupError: no such thing" in reply.text
        assert "in predict" in reply.text, "the actor's traceback is missing"


def test_a_constructor_that_raises_fails_the_query_with_its_error(tmp_path: Path) -> None:
    reply, _ = failed_construction(tmp_path, "raise LookupError('no model here')")
    assert "LookupError: no model here" in reply.text, reply
    assert "actor 0 of UDF" in reply.text or "actor 1 of UDF" in reply.text


def test_a_constructor_that_exits_fails_the_query_with_the_code_and_the_last_lines(tmp_path: Path) -> None:
    reply, _ = failed_construction(tmp_path, "print('cannot go on'); os._exit(9)")
    assert reply.error == "ActorError", reply
    assert "exited with code 9" in reply.text
    assert "cannot go on" in reply.text


def run_with_a_kill(driver: RemoteDriver, folder: Path, *, actors: int, whom: str) -> None:
    """Kills once while a constructor runs; the answer is right, and so many actors were constructed to the end."""
    made, mark = folder / "made", folder / "killed"
    step = model(made, actors=actors, construction=0).replace(
        "self.folder = folder", "self.folder = folder\n        kill_once()"
    )
    driver.run(KILL_ONCE.format(mark=str(mark), whom=whom))
    assert driver.run(step + PREDICT) == RIGHT
    assert mark.exists(), "nothing was killed"
    assert len(constructions(made)) == actors


def test_an_actor_that_is_killed_in_its_constructor_is_constructed_again(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        run_with_a_kill(driver, tmp_path, actors=2, whom="os.getpid()")
        driver.wait_for_log(r"is started again \(1 of 2\)")
        assert_none_left(driver)


def test_an_actor_whose_worker_dies_in_its_constructor_is_constructed_again(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        run_with_a_kill(driver, tmp_path, actors=1, whom="os.getppid()")
        assert_none_left(driver)


def test_an_actor_that_is_always_killed_in_its_constructor_fails_the_query_after_three_tries(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    body = f"open(os.path.join({str(made)!r}, str(os.getpid())), 'w').close(); os.kill(os.getpid(), signal.SIGKILL)"
    reply, _ = failed_construction(tmp_path, body, actors=1)
    assert reply.error == "ActorError", reply
    assert "was killed by SIGKILL; out of memory?" in reply.text
    assert "actor 0 of UDF __main__.Broken.predict on worker-" in reply.text
    assert f"the process of actor 0 of UDF __main__.Broken.predict on {socket.gethostname()}" in reply.text
    assert "It was killed in its constructor 3 times" in reply.text
    assert len(list(made.iterdir())) == 3


def test_a_constructor_that_hangs_fails_the_query_within_the_readiness_time_out(tmp_path: Path) -> None:
    reply, _ = failed_construction(tmp_path, "time.sleep(600)", timeout_seconds=4)
    assert reply.error == "ActorError", reply
    assert "was not done after 4 s" in reply.text or "failed to start within 4 seconds" in reply.text
    assert reply.seconds < 40  # the constructor would take 600


def begin_on_all_actors(driver: RemoteDriver, folder: Path, step: str) -> tuple[Checkpoint, psutil.Process]:
    """Begins a query; returns once each of its two actors is in its first call, with one of the two workers.

    So no task has ended, and each worker runs one at least: tasks call the actor of their own worker.
    """
    checkpoint = Checkpoint(folder / "hold", holds=2)
    driver.send(model(folder, actors=2, holds=2, construction=0.1) + step)
    actors = checkpoint.wait_for_arrivals()
    assert len(set(actors)) == 2
    worker = psutil.Process(actors[0]).parent()
    assert worker is not None
    return checkpoint, worker


def test_a_worker_that_dies_with_its_actor_in_a_call_costs_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path) as driver:
        checkpoint, worker = begin_on_all_actors(driver, folder, PREDICT)
        actors_of_worker = [child.pid for child in worker.children()]
        worker.kill()
        wait_until_gone([worker.pid, *actors_of_worker], 5)
        checkpoint.open()
        reply = driver.reply()
        assert (reply.answer, reply.error) == (RIGHT, None), reply
        assert_none_left(driver)


def test_a_worker_that_dies_with_results_of_actors_is_an_error_that_names_it(tmp_path: Path) -> None:
    # Larger than what travels with the news of a task's end.
    collect = f"""
rows = daft.range({ROWS}, partitions=8)
done = rows.with_column('doubled', model.predict(col('id'))).collect()
"""
    with RemoteDriver(tmp_path) as driver:
        checkpoint, worker = begin_on_all_actors(driver, tmp_path / "made", collect)
        worker_id = worker.environ()["DAFT_K8S_INTERNAL_WORKER_ID"]
        checkpoint.open()
        assert driver.reply().error is None
        worker.kill()
        wait_until_gone([worker.pid], 5)
        driver.send("answer = sum(done.to_pydict()['doubled'])")
        reply = driver.reply()
        assert reply.error == "WorkerLostError", reply
        assert worker_id in reply.text
        assert "SIGKILL" in reply.text


def test_actors_of_a_cancelled_query_are_gone_soon(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path) as driver:
        step = "results = rows.with_column('doubled', model.predict(col('id'))).iter_rows()\nnext(results)"
        driver.run(model(folder, actors=2, construction=0.1) + step)
        assert len(actor_processes(driver)) == 2
        driver.run("results.close()\ndel results")
        assert_none_left(driver)


def test_an_actor_that_can_never_fit_is_refused_at_once_with_the_sums(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        step = """
@daft.udf(return_dtype=daft.DataType.int64(), concurrency=1, num_cpus=64)
def wide(values):
    return values
df.select(wide(col('id'))).collect()
"""
        driver.send(step)
        reply = driver.reply()
        assert reply.error == "ActorError", reply
        assert "No single actor can be scheduled" in reply.text
        assert "64 CPUs" in reply.text
        assert "2 CPUs" in reply.text
        assert reply.seconds < 30  # actors are waited for longer


def test_actors_share_the_devices_that_the_worker_sees(tmp_path: Path) -> None:
    before = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = 'GPU-a,GPU-b'"
    seen = tmp_path / "seen"
    seen.mkdir()
    with RemoteDriver(tmp_path, before=before, num_workers=1, worker_cpu=3, worker_gpu=2) as driver:
        driver.run(f"""
@daft.cls(max_concurrency=3, gpus=0.5)
class Seen:
    def __init__(self):
        with open({str(seen)!r} + f"/{{os.getpid()}}", "w") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    @daft.method.batch(return_dtype=daft.DataType.int64())
    def same(self, values):
        return values
df.select(Seen().same(col('id'))).collect()
""")
    devices = sorted(path.read_text() for path in seen.iterdir())
    assert devices in (["GPU-a", "GPU-a", "GPU-b"], ["GPU-a", "GPU-b", "GPU-b"])


@pytest.mark.skipif("BIG_MODEL" not in os.environ, reason="4 models of 200 MB; set BIG_MODEL=1 to run it")
def test_a_large_model_is_constructed_once_by_each_actor(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with RemoteDriver(tmp_path, worker_cpu=2, worker_memory="1Gi") as driver:
        step = model(folder, construction=2).replace("1 << 20", "200 << 20")
        assert driver.run(step + PREDICT) == RIGHT
        assert len(constructions(folder)) == 4
