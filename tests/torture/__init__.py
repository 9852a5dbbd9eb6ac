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
go back.  Some bytes are counted later then, but each of them once.  Not promised are jumps longer than `final_after`
(6h): at a midnight that has not been, the collector takes a day for complete.
"""
