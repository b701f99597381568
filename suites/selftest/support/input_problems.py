"""Problems that a loader finds in an input file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from migqual.errors import InventoryError


def list_input_problems(load_file: Callable[[Path], object], file: Path) -> list[str]:
    """Load a file with problems, and list the problems."""
    with pytest.raises(InventoryError) as error_info:
        load_file(file)
    return [str(problem) for problem in error_info.value.problems]
