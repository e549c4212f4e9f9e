"""Random pipelines whose workers meet random faults: the right answer or one clear error, in time, nothing left behind.

`faults.py` draws faults as plain values and does them to worker processes. `engine.py` asks the runner while they
happen. `run.py` counts what came of it, with the native runner as the oracle (tests/differential). `test_chaos.py` has
a few seeds for every change; `make chaos SEED=1 RUNS=1000` draws as many as wanted, and the same seed draws the
same again.

`shapes.py` has a query of every shape. `recovery.py` kills a worker at a random moment of each and tells what was
recomputed (`make test-recovery`); `test_recovery.py` has two shapes for every change.

Not covered yet: Pods and nodes, slow or cut networks, full disks, workers that run out of memory.
"""
