"""The worker process: runs Daft's tasks of one driver session (`python -m daft_k8s.worker`).

Here: the life of the process, and running tasks on Daft's native executor.
Not here: the servers and the partition store (`daft_k8s._native`), and anything of the driver.
Importing this package must not import Daft: the environment is set first. Imported by no other room.
"""
