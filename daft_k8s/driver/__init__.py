"""The driver's session: the pool of workers, the allocator that starts them, and their common end.

Here lives nothing of Daft (the event loop and the version come in as arguments) and nothing of
Kubernetes. The seam and `daft_k8s.api` import this room; it imports the native core, the
configuration and the allocators.
"""
