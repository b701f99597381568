"""What the tests of preflight look at, and with."""

from suites.prerequisites.looking import look, standing

__all__ = ["look", "standing"]
