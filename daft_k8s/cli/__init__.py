"""CLI: the command `daft-k8s`, a module for each command, which `main` loads when it is called.

Here: options, output and exit codes; the only room that knows click and rich. Not here: anything that another face of
the product would need as well. Imported by no other room.
"""
