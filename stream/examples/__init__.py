"""Files that `quota-stream init` hands out."""
