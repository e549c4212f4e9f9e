"""Code: the driver's own modules on their way to the workers.

Here: the selection of files, their bundle, and how it is unpacked. Not here: Daft, and connections: the driver offers a
bundle and the worker asks for it. Imported by `allocation`, `cli`, `jobs`, `seam` and `worker`.
"""
