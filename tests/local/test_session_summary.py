"""What a session says of itself in few numbers, while real workers run its tasks."""

from __future__ import annotations

from tests.local.driver_process import run


def test_a_session_tells_its_tasks_queries_and_memory_while_it_works() -> None:
    ended = run(
        """
        import threading, time
        import daft, daft_k8s
        from daft_k8s.observe.session_summary import decode

        session = daft_k8s.set_runner_k8s(num_workers=2, worker_cpu=1, worker_memory="512Mi")

        def wait_for(what):
            end = time.monotonic() + 60
            while not what(decode(session.summary())):
                assert time.monotonic() < end, session.summary()
                time.sleep(0.05)

        @daft.func
        def slowly(x: int) -> int:
            import time
            time.sleep(1)
            return x

        held = daft.range(2_000_000, partitions=2).collect()
        print(decode(session.summary()).done)
        query = daft.range(8, partitions=8).select(slowly(daft.col("id")))
        thread = threading.Thread(target=query.collect)
        thread.start()
        wait_for(lambda now: (now.running_queries, now.ready, now.running) == (1, 2, 2) and now.waiting)
        thread.join()
        now = decode(session.summary())
        print(now.running_queries, now.done, now.failed, now.waiting, now.queries)
        wait_for(lambda now: now.held_bytes >= 16_000_000 and len(now.workers) == 2)

        @daft.func
        def fails(x: int) -> int:
            raise ValueError("as planned")

        try:
            daft.range(1).select(fails(daft.col("id"))).collect()
        except Exception as error:
            print("as planned" in str(error), decode(session.summary()).failed, decode(session.summary()).queries)
        session.shutdown()
        print(repr(session.summary()))
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["2", "0 10 0 0 ()", "True 1 ()", "''"]
