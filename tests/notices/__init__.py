"""Who is told of what happens, once or more, whatever fails."""
