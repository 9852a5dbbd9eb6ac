"""Seeded worlds in which processes, log, brokers, platforms and clocks fail at the worst moments.

One seed gives one world, to the byte: everything that happens is drawn from it, and time is the loop's.  The real
runtime runs in it, unchanged; only what lies beyond its ports is ours:

    processes   process, host    die, stand still or wake up late at any await, and are started again
    log         broker, client   what Kafka may do at its worst, each process over a network of its own
    group       coordinator      who serves which partition: told late, told wrongly, or never
    weather     weather          how often all that happens here; and what did, for the table at the end
    log worlds  script           what is said to the log, by whom and when (ladders: the plans; meters: the traffic)
                log_world        publishers, an operator and trackers, until all is calm
                auditor          what must be true of it, told from the broker's journal alone (durable: quota.state)
    runner      campaign         `python -m tests.simulation`: worlds over all cores, and the sum of their reports
"""
