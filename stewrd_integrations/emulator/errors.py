"""The errors of the API as a table, and the one exception that the rules raise."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

DOCS = "https://stewrd.dev/docs/errors"

Form = Literal["json", "html", "empty", "hang_up"]


class Known(NamedTuple):
    """A row of the table: HTTP status and the usual words."""

    status: int
    message: str


# [documented] code -> status; [assumed] the words
ERRORS: dict[str, Known] = {
    "invalid_body": Known(400, "The request body is not valid."),
    "missing_message": Known(400, "The field 'message' is required and must not be empty."),
    "invalid_capabilities": Known(400, "Unknown capability."),
    "invalid_tools": Known(400, "The field 'tools' is not valid."),
    "invalid_tool_outputs": Known(400, "The field 'tool_outputs' is not valid."),
    "tool_output_too_large": Known(400, "A tool output is larger than 100 KB."),
    "invalid_api_key": Known(401, "The API key is missing, malformed or revoked."),
    "insufficient_credits": Known(402, "The credit balance is zero."),
    "capability_not_enabled": Known(403, "The capability is not enabled for this project."),
    "plan_restricted": Known(403, "This needs purchased credits."),
    "context_expired": Known(404, "The run is not known or has expired."),
    "rate_limited": Known(429, "More than 60 requests in a minute."),
    "quota_exceeded": Known(429, "The quota of this period is used up."),
    "compute_error": Known(502, "The compute service failed."),
    "compute_unavailable": Known(502, "The compute service was not reached."),
    "service_unavailable": Known(503, "The service is down."),
}

# [assumed] codes that no documentation lists
UNLISTED: dict[str, Known] = {
    "not_found": Known(404, "Not found."),
    "method_not_allowed": Known(405, "Method not allowed."),
    "internal_error": Known(500, "Internal error."),
}


class Refusal(Exception):
    """A request that is not answered as asked: an error status, or no answer at all."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        form: Form = "json",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.form = form
        self.headers = headers

    def body(self, shape: str) -> dict[str, Any]:
        """The JSON body, wrapped in `error` or flat."""
        fields = {"code": self.code, "message": self.message, "docs": DOCS}
        if self.code is None:
            del fields["code"]
        return {"error": fields} if shape == "wrapped" else dict(fields)


def refuse(
    code: str, message: str | None = None, *, headers: tuple[tuple[str, str], ...] = ()
) -> Refusal:
    """The refusal for a code of the table, with its usual words or with better ones."""
    known = ERRORS.get(code) or UNLISTED[code]
    return Refusal(known.status, code, message or known.message, headers=headers)


def refuse_oddly(status: int, code: str | None, message: str) -> Refusal:
    """The refusal where the code is not documented: a code, none, or "html"."""
    if code == "html":
        return Refusal(status, None, message, form="html")
    return Refusal(status, code, message)
