"""Every study, in the order in which they run."""

from ..questions import Study
from .figures import FIGURES
from .limits import CAP, LENGTH, RATE, SLOTS, WAIT
from .memory import FAILED, IDEMPOTENCY, LOW_BALANCE, REFUSED
from .models import MODELS
from .plain import BASICS, FILES, REQUESTS, STREAMS
from .tooling import TOOLS

STUDIES: tuple[Study, ...] = (
    BASICS,
    STREAMS,
    REQUESTS,
    FILES,
    REFUSED,
    FAILED,
    IDEMPOTENCY,
    TOOLS,
    MODELS,
    LENGTH,
    CAP,
    RATE,
    LOW_BALANCE,
    WAIT,
    SLOTS,
    FIGURES,
)

__all__ = ["STUDIES"]
