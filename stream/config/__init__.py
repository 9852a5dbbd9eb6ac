"""The configuration: YAML -> one frozen `Config`, or every problem with its line and a cure."""
