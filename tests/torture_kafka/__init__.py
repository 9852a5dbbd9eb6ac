"""What `tests.torture` does to one machine, done to a cluster and to everything that works on it.

    publisher --- deltas of meters --+
                                     v
    simulator <--- HTTP --- 2 collectors, 3 trackers, 2 enforcers     killed, stopped
        |                            |
        |                         proxies                             slow, mute
        |                            |
        |                       three brokers                         killed, stopped, restarted, gone, their partitions
        |                            |                                moved
        +-- its journal --> audit <--+                                at the end, exact to the byte

Whoever is killed is started again at once, as a service manager would do.  After each fault every partition must move
again: its tracker must checkpoint, its collector must publish.  At the end every byte is counted once, every decision
is the one that follows from the log, none was shown before it was durable, and every VM has the speed that is due.

The processes live by a clock that runs sixty times faster than time and far in the past, the brokers by their own.
"""
