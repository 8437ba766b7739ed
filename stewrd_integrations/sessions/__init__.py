"""The heart: pure decisions about conversations and sessions. No clock, no I/O, no `async`."""
