"""The tests of a checkout of Daft, laid out so that they run against the installed wheel."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Tier(NamedTuple):
    """Paths below the checkout, and what is left out of them."""

    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()


_FIRST = (
    "shuffles",
    "distributed_limit",
    "limit_offset",
    "into_partitions",
    "into_batches",
    "concat",
    "iter",
    "show",
    "sort",
    "monotonically_increasing_id",
    "sort_shuffle_elision",
    "clustering_propagation",
)
_DATAFRAMES = ("tests/udf", "tests/window", "tests/cookbook", "tests/dataframe")

TIERS = {
    # What a distributed runner does differently from a native one. Minutes.
    "t0": Tier(tuple(f"tests/dataframe/test_{name}.py" for name in _FIRST)),
    # Nearly all tests that run queries.
    "t1": Tier(_DATAFRAMES, ("tests/dataframe/test_joins.py", "tests/dataframe/test_asof_join_nearest.py")),
    # All of them, with readers, writers and SQL.
    "t2": Tier((*_DATAFRAMES, "tests/sql", "tests/io", "tests/checkpoint", "tests/expressions/test_legacy_udf.py")),
}


# Python runs a module of this name at its start, also in processes that tests start.
_TAKE_OVER = """\
import os

if os.environ.get("DAFT_RUNNER") == "ray":  # no worker
    from daft_k8s.boot.after_import import after_import
    from daft_k8s._autostart import take_over

    after_import("daft", take_over)
"""


_FUTURE = "from __future__ import annotations\n"


def _name_a_runner(conftest: Path) -> None:
    """Lets Daft's conftest be imported on workers: it asks for DAFT_RUNNER, which UDFs do not see."""
    text = conftest.read_text()
    before, future, rest = text.partition(_FUTURE) if _FUTURE in text else ("", "", text)
    named = 'import os as _os\n\n_os.environ.setdefault("DAFT_RUNNER", "native")\n'
    conftest.write_text(f"{before}{future}{named}{rest}")


@contextmanager
def staged(checkout: Path, *, without_ray: bool) -> Iterator[Path]:
    """Copies the tests alone into a temporary folder, and yields it.

    The checkout's own `daft` package must not be importable beside them, or it would be tested in
    the place of the installed one; some tests put the folder above `tests` on the path of processes
    that they start, so a link would not do.

    Args:
        checkout: Where `tests` is.
        without_ray: daft_k8s takes the place of Daft's Ray runner, and a few names that of Ray.
    """
    with tempfile.TemporaryDirectory(prefix="daft-conformance-") as name:
        stage = Path(name).resolve()
        shutil.copytree(checkout / "tests", stage / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        _name_a_runner(stage / "tests" / "conftest.py")
        # A configuration of its own: pytest looks for none above, and for none in the checkout.
        (stage / "pytest.ini").write_text(
            "[pytest]\n"
            "markers =\n"
            "    integration: needs services\n"
            "    benchmark: measures\n"
            "    hypothesis: draws its examples\n"
            "    timeout: has a limit of its own; here all have one\n"
        )
        if without_ray:
            (stage / "sitecustomize.py").write_text(_TAKE_OVER)
            (stage / "ray.py").write_text("from conformance.stand_ins import ObjectRef, exceptions, get\n")
        yield stage
