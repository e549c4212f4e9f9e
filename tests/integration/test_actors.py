"""UDFs with actors on worker Pods: spread over them, and called from Pods that hold none."""

from __future__ import annotations

import re

from tests.integration.cluster import Namespace


def test_actors_run_on_worker_pods_and_are_called_from_others(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        import socket
        use(num_workers=2)

        class Host:
            def __init__(self):
                self.host = socket.gethostname()

            @daft.method.batch(return_dtype=daft.DataType.string())
            def where(self, values):
                return [self.host] * len(values)

        rows = daft.range(2_000, partitions=10)
        for name, actors in (("spread", 2), ("alone", 1)):
            model = daft.cls(max_concurrency=actors)(Host)()
            say(**{name: len(set(rows.with_column("at", model.where(col("id"))).to_pydict()["at"]))})
        """
    )
    facts = driver.finish()
    assert facts["spread"] in (1, 2)  # a fast worker may have done all the work
    assert facts["alone"] == 1


def test_a_constructor_that_takes_more_memory_than_its_pod_has_fails_the_query_and_spares_the_session(
    namespace: Namespace,
) -> None:
    driver = namespace.start(
        """
        use(num_workers=2, worker_memory="512Mi")

        class Hungry:
            def __init__(self):
                self.weights = b"x" * (2 << 30)

            @daft.method.batch(return_dtype=daft.DataType.int64())
            def same(self, values):
                return values

        model = daft.cls(max_concurrency=1)(Hungry)()
        try:
            daft.range(2_000, partitions=10).with_column("same", model.same(col("id"))).collect()
        except Exception as error:
            say(error=type(error).__name__, text=str(error))
        say(rows=daft.range(2_000, partitions=10).count_rows())
        """
    )
    facts = driver.finish()
    assert facts["error"] == "ActorError", facts
    # Whether the kernel ends the process alone or its whole container, depends on the node.
    assert re.search(r"on daft-\w+-worker-\d-\d+, which ran .* by SIGKILL; out of memory\?|OOM", facts["text"]), facts
    assert "It was killed in its constructor 3 times" in facts["text"]
    assert facts["rows"] == 2_000
