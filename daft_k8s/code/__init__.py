"""The driver's own code on its way to the workers: which files, their bundle, and how it is unpacked.

Knows neither Daft nor connections: the seam offers a bundle and the worker asks for it. Both may import this
room; it imports only `errors`.
"""
