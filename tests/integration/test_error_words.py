"""Errors of Pods as a user reads them. Those of local workers, and more of them: tests/local/test_error_words.py."""

from __future__ import annotations

from tests.integration.cluster import Namespace


def test_an_error_of_a_udf_shows_the_line_of_a_script_that_pods_do_not_have(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        @daft.func
        def price(x: int) -> int:
            if x == 3:
                raise ValueError("no price")
            return x

        use()
        try:
            daft.from_pydict({"x": [1, 2, 3]}).select(price(col("x"))).collect()
        except Exception as error:
            say(text=str(error), notes=error.__notes__)
        """
    )
    facts = driver.finish()
    [note] = facts["notes"]
    assert facts["text"].count("ValueError: no price") == 1
    assert "ValueError: no price" not in note
    assert note.endswith(', in price\n    raise ValueError("no price")'), note


def test_workers_whose_image_is_not_there_tell_it_together(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        use(num_workers=3, image="registry.invalid/none:1")
        try:
            count_rows()
        except daft_k8s.errors.WorkerStartError as error:
            say(text=str(error), cause=error.__cause__ is not None)
        """
    )
    facts = driver.finish(within_seconds=150)
    assert not facts["cause"]
    # Two kubelets may be between two tries at different moments, and say so in other words.
    assert 1 <= facts["text"].count("cannot be pulled") <= 2, facts["text"]
    assert " more: worker-" in facts["text"]
