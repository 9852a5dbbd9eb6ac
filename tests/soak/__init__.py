"""Long runs, not for every commit: `python -m tests.soak days` and `python -m tests.soak http`."""
