"""The demo: that its audit passes what is right, and notices each thing that is not."""
