"""Handles: the objects that are pickled into plans in the driver and come alive in workers.

Here: the handles of LIMIT counters, actors and vLLM engines, the functions of key-filtering joins, their calls, and the
moves that end a write. Not here: the driver's ends of them, which are in the seam, and the processes of actors. A plan
brings this room, `wire` and the ground along, and nothing of the driver. Imported by `seam` and `worker`.
"""
