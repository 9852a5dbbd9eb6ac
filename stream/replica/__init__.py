"""A read model of one installation: what trackers, enforcers and collectors made durable, to be looked at."""
