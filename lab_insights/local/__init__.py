"""The local stack: real clients against servers on this machine, for the demo, the tests and development."""
