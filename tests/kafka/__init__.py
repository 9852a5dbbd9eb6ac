"""The Kafka adapter against real brokers: `make test-kafka`."""
