"""Define the data of a qualification: plans, guests, outcomes of migrations, records, verdicts.

The classes are frozen dataclasses. The functions are pure, except the functions that load files.
"""
