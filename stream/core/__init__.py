"""The pure part: no I/O, no asyncio, no clock, no logging.  Records in, decisions out."""
