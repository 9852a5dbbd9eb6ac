"""What one would use instead, each a program of its own that does the job of tests/bench/kafka/workload.py.

They run in environments of their own, without ours: nothing here imports the product.  All are told by environment
variables: BROKER, IN_TOPIC, OUT_TOPIC, APP_ID, QUOTAS (a file), STATE_DIR, and what marks.py reads.
"""
