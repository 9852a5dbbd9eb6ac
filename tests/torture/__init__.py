"""`run`, the simulator and a publisher as real processes, and everything that can happen to a machine happens to them.

    publisher --- deltas of meters --+
                                     v
    simulator <--- HTTP --- run --- log on a small disk          killed, stopped, full, at the wrong time
        |                            |
        +-- its journal --> audit <--+                           at the end, exact to the byte

What is promised, and so held here: whatever of it is killed or stopped at whatever instant, and however often, every
byte is counted once, every decision is the one that follows from the log, and every VM ends with the speed that is due.
A full disk stops `run` and the publisher, but costs nothing.

The wall clock of `run` may jump by minutes, either way and also over a local midnight, with the same outcome: it fixes
only up to when the collector asks, which the platform's own numbers bound, and the time stamps of the log, which never
go back.  What is counted comes later then, and no other bytes do.  Not promised are jumps that are longer than
`final_after` (6h): the collector takes a day for complete that is not over.
"""
