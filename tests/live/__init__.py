"""A contract suite with a target: what nobody documents, asked of the live API or the emulator."""
