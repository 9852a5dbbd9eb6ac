"""The configuration: every mistake has its message, every good file its meaning."""
