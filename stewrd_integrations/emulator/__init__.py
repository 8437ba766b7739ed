"""A local Stewrd: a second reading of the API's contract, to develop and test against.

`Emulator` serves on a loopback socket; `python -m stewrd_integrations.emulator`
does so from a shell. It needs starlette and uvicorn, and nothing else of this
package.
"""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "stewrd_integrations.emulator needs starlette and uvicorn: "
        'pip install "stewrd-integrations[emulator]"'
    ) from missing

from .agent import Agent, Answer, Call, Context, File, Tool
from .builtin import default_agent
from .reading import Conversation, Heard, Said, ToolCall, read
from .records import Exchange, Overlap, Run, SessionRecord, ToolOutput
from .server import Emulator
from .settings import Settings

__all__ = [
    "Agent",
    "Answer",
    "Call",
    "Context",
    "Conversation",
    "Emulator",
    "Exchange",
    "File",
    "Heard",
    "Overlap",
    "Run",
    "Said",
    "SessionRecord",
    "Settings",
    "Tool",
    "ToolCall",
    "ToolOutput",
    "default_agent",
    "read",
]
