"""Random pipelines of DataFrames, each run by Daft's native runner and by this one, with equal answers.

`tables.py` draws data, `pipelines.py` what is done with it, both as plain values that print and shrink well.
`building.py` turns them into DataFrames in two long-lived processes, one for each runner (`engine.py`, `engines.py`);
`comparison.py` says whether two answers are the same. `test_pipelines.py` runs a fixed number of them, `run.py` goes
on for as long as it is told. What Daft itself answers wrongly is pinned in `known_daft_defects.py`.
"""
