"""Jobs: drivers that run as Kubernetes Jobs.

Here: the Job, the Secrets with the driver's code, and a run from its creation to its exit code. Not here: the
command line, and any print. Imported by `cli`.
"""
