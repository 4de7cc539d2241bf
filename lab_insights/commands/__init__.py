"""The command line, one module a command group; they print and exit, the work is done elsewhere."""
