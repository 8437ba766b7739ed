"""Small plausible mistakes, each of which the tests must catch: see `tests.mutants`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One mistake: in a file of the package, this text becomes that.

    Attributes:
        name: The mistake in words, as a user would come to know it.
        file: The file, beside the package's own ``__init__.py``.
        old: The text, wherever it stands in the file.
        new: What stands there by mistake.
        tests: Tests that are run before those of the room: a file or one test.
        times: How often the text stands in the file.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str = ""
    times: int = 1
