"""The enforcer, from the pure rules to a service's way through crashes."""
