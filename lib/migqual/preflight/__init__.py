"""Look before you move: facts from both hosts, pure checks over them, findings.

`run.preflight` does all of it; `run.guard` turns refusals into an error.
"""
