"""Doctor: the checks of everything that a query needs, each with what to change.

Here: findings, the checks of this machine, those of a cluster, and the program that test Pods run. Not here: the
command line, and any print. Imported by `cli`.
"""
