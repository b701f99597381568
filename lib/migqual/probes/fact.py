"""Represent a fact about a host or a guest by a value, or by the reason for a missing value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from migqual.errors import GuestError, HostError

T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """A fact without a value, with the reason."""

    reason: str


Fact: TypeAlias = T | Missing


def fact_or_missing(operation: Callable[[], T]) -> Fact[T]:
    """Return the result of the operation, or `Missing` with the error message.

    Only HostError and GuestError become `Missing`. Any other error is raised.
    """
    try:
        return operation()
    except (HostError, GuestError) as error:
        return Missing(error.message)
