"""Who may call: the key in a header or in the query, a client certificate, optionally a bearer token."""

import hmac
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .messages import Answer, Request, error_answer, json_answer

_DETAIL: Final = "Quota exceeded: Insufficient Usage Credits (BA)"
_FORBIDDEN: Final[dict[str, Any]] = {
    "title": "Forbidden",
    "status": 403,
    "detail": _DETAIL,
    "error": f"Forbidden ({_DETAIL})",
    "QuotaKey": "BA",
    "QuotaName": "Insufficient Usage Credits",
    "QuotaType": "Organization Limit",
    "QuotaValueCurrentUsage": 0,
    "QuotaValue": 0,
    "QuotaValueUnit": "$",
    "QuotaValueAdjustable": "Yes, add usage credits",
}


@dataclass(slots=True)
class Guard:
    """The check in front of every operation that needs a key; `fail` answers that status to everybody."""

    api_key: str = field(repr=False)
    bearer: str | None = field(default=None, repr=False)
    fail: Literal[401, 403] | None = None

    def check(self, request: Request, *, certificates: bool) -> Answer | None:
        """Return the refusal, None if the caller may pass (EMS and Managed REST, authentication).

        `certificates`: whether a client certificate stands in for the key.
        """
        if self.fail == 403:
            return json_answer(_FORBIDDEN, status=403)
        known = (certificates and request.certified) or self._has_key(request)
        if self.fail == 401 or not known or not self._has_bearer(request):
            return error_answer(401, "Invalid API key")
        return None

    def _has_key(self, request: Request) -> bool:
        shown = request.headers.get("x-coinapi-key")
        if shown is None:
            shown = request.first("apikey")
        return shown is not None and _same(shown, self.api_key)

    def _has_bearer(self, request: Request) -> bool:
        if self.bearer is None:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _same(token, self.bearer)


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), expected.encode())
