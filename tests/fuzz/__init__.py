"""Spoiled inputs for everything that reads bytes or texts that are not ours.

`targets` is the table of all of them; each input comes from a good one by `mutation`; `target` says what becomes of it.
`python -m tests.fuzz --inputs 1000000` goes through many, `test_fuzz` through a few, `--list` shows the table.
"""
