"""Wire: the agreements between the process of the driver and that of a worker.

Here: the worker's settings and exit codes, the calls of workers to the driver with their codec, and the payloads.
Payloads are tasks, results, partitions, actors and users' exceptions. Not here: connections, servers, and any decision.
Importing this package must not import Daft, whose environment the worker sets first. Imported by `allocation`, `code`,
`driver`, `handles`, `kube`, `observe`, `seam` and `worker`.
"""
