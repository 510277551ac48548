"""The shim: a program of its own, put together from these parts as one file that is started by its path.

A part may import the standard library and the parts before it, nothing else, and no two may use a name twice. The lines
of a traceback are the whole's (`interpreter.whole_source`).
"""

PARTS = ("kernel", "output", "tree", "bounds", "record", "program")
"""Each after those that it imports."""
