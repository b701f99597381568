"""Commands of `migqual`: a module adds the arguments of a command and handles the command.

Each handler returns an exit code.
"""
