"""The installed command in real processes, on a real file."""
