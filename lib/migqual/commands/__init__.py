"""One module per command of `migqual`: its arguments, and a handler that returns an exit code."""
