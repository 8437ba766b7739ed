"""All mistakes, in the order of the rooms."""

from __future__ import annotations

from . import Mutant, adapters, emulator, frameworks, heart, modules, security, stores, tools, wire

ALL: tuple[Mutant, ...] = (
    *heart.MUTANTS,
    *wire.MUTANTS,
    *stores.MUTANTS,
    *modules.MUTANTS,
    *adapters.MUTANTS,
    *tools.MUTANTS,
    *emulator.MUTANTS,
    *frameworks.MUTANTS,
    *security.MUTANTS,
)
