"""What things cost, side by side in one run: `python -m tests.bench`.  Nothing is asserted here."""
