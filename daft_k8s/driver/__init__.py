"""Driver: a session, i.e. the pool of workers, the allocator that starts them, and their common end.

Here: the composition of the native core, the configuration and the allocators. Not here: Daft (the event loop and the
version come in as arguments), and Kubernetes. Imported by `api` and `seam`.
"""
