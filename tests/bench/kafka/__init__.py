"""What trackers on a real Kafka cost beside others that do the same job: `make bench-kafka`.  Nothing is asserted."""
