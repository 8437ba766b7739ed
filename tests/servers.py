"""The server that conversation tests talk to: the emulator, or the peer with `--server=peer`."""

from __future__ import annotations

import os
from typing import Any, cast

from stewrd_integrations.emulator import Emulator

from .peer.stand_in import StandIn


def serve(*args: Any, **settings: Any) -> Emulator:
    """A server with these settings of an `Emulator`, to be used in a `with` block."""
    if os.environ.get("SERVER_OF_THE_TESTS") == "peer":
        return cast("Emulator", StandIn(*args, **settings))
    return Emulator(*args, **settings)
