"""Files that releases have written, and what was in them: every later release opens them.

`python -m tests.released` makes the pair of the present version, once, when it is released.
"""
