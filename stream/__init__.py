"""quota-stream: sliding-window traffic quotas as an event stream."""

__version__ = "0.1.0"
