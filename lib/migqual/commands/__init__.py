"""Define the commands of `migqual`, one command in each module without a leading underscore.

`register` adds the arguments of the command to a parser. The handler of the command returns the
exit code.
"""
