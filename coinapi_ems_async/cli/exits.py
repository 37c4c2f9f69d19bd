"""Exit statuses, and what is said about each failure: one sentence, with what to do."""

import re
from enum import IntEnum
from typing import Final

from ..errors import (
    AnswerError,
    AuthenticationFailed,
    ConfigurationError,
    EMSError,
    ExchangeUnreachable,
    HistoryNotConfigured,
    InvalidRequest,
    NoSites,
    NotRoutable,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrderUnknown,
    RateLimited,
    TransportError,
    UsageError,
)
from ..outcomes import Accepted, NotSent, Outcome, Rejected, Unknown

__all__ = ["HELP", "Exit", "Failure", "exit_of_error", "exit_of_outcome", "sentence"]


class Exit(IntEnum):
    """Exit statuses of the command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REJECTED = 3
    NOT_SENT = 4
    UNKNOWN = 5
    FAILED = 6
    INTERRUPTED = 130


HELP: Final = (
    (Exit.OK, "done, or shown what would be done"),
    (Exit.INTERNAL, "a fault of this program; or the demo found a step that did not do what it claims"),
    (Exit.USAGE, "wrong usage, invalid input or configuration; nothing was sent"),
    (Exit.REJECTED, "the service or the exchange refused the order or cancel"),
    (Exit.NOT_SENT, "proved: no byte of the order or cancel left this machine"),
    (Exit.UNKNOWN, "it may have been executed: do NOT send it again; orders status, wait or recover tells"),
    (Exit.FAILED, "a read or an account call failed: refused, unreachable, out of time, no sites"),
    (Exit.INTERRUPTED, "interrupted"),
)


class Failure(Exception):
    """Ends a command with a sentence of its own and an exit status."""

    def __init__(self, sentence: str, status: Exit = Exit.USAGE) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


_OF_ERRORS: Final = (
    (InvalidRequest, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (UsageError, Exit.USAGE),
    (OrderRejected, Exit.REJECTED),
    (OrderNotSent, Exit.NOT_SENT),
    (OrderUnknown, Exit.UNKNOWN),
    (EMSError, Exit.FAILED),
)


def exit_of_error(error: EMSError) -> Exit:
    """Return the exit status that tells this error from the others."""
    return next(status for kind, status in _OF_ERRORS if isinstance(error, kind))


def exit_of_outcome(outcome: Outcome) -> Exit:
    """Return the exit status of an order call."""
    match outcome:
        case Accepted():
            return Exit.OK
        case Rejected():
            return Exit.REJECTED
        case NotSent():
            return Exit.NOT_SENT
        case Unknown():
            return Exit.UNKNOWN


# The library speaks to programmers; on the command line the same things have other names.
_WORDS: Final = (
    (
        "a finite Decimal, int or numeric string of at most 64 digits with an exponent between -64 and 64",
        "a number of at most 64 digits, such as 0.045",
    ),
    ("no site serves the exchange account, or none was left: no known site", "no known site"),
    ("; check the API key (a fresh one", " (a fresh key"),
    ("filter_exchange_id", "--exchange"),
    ("EMSClient.self_hosted(url)", "--self-hosted URL"),
    ("EMSClient.cloud_only(...) and its accounts.save", "`coinapi-ems accounts save`"),
    ("ems.orders.status(client_order_id)", "`coinapi-ems orders status`"),
    (", or Settings(allow_plain_http=True) if you must", ""),
    ("the key goes into api_key=", "the key goes into $COINAPI_API_KEY"),
    ('EMSClient(api_key="...")', "--api-key-file FILE"),
    ("transport='http2'", "--transport http2"),
    ("leave out fill_or_kill", "write --marketable alone"),
    ("with force=True", "with --force"),
    ("in use by another client", "in use by another process; wait until it has ended"),
)

_TWICE: Final = re.compile(r"\b(the [^:()]+): \1")
"""A failure and its own text, which often begins with the same words."""

_MARKS: Final = re.compile(r"\s*\(protocol [A-Z]-\d+(?:(?:,| and) [A-Z]-\d+)*\)")
"""Rows of the protocol notes: for those who read the library, not for those who use the command."""

# What to do, by kind of error; the first that fits.
_ADVICE: Final = (
    (AuthenticationFailed, "check the key in $COINAPI_API_KEY or --api-key-file, and that it is for this service"),
    (HistoryNotConfigured, "the order history is not available there"),
    (OrderNotFound, None),
    (ExchangeUnreachable, "see `coinapi-ems accounts list`, and try again later"),
    (RateLimited, "wait a little and try again"),
    (NotRoutable, "`coinapi-ems endpoints` shows which accounts are served"),
    (AnswerError, None),
    (
        TransportError,
        "check the network and the URL, then try again",
    ),
)


def sentence(error: EMSError) -> str:
    """Return what happened and what to do, as one line."""
    said = error.message
    for theirs, ours in _WORDS:
        said = said.replace(theirs, ours)
    if isinstance(error, NoSites) and isinstance(error.__cause__, TransportError):
        said = said.replace("check the URL", "check --management-url")
    said = _TWICE.sub(r"\1", _MARKS.sub("", said))
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)), None)
    line = " ".join((f"{said.rstrip('.')}; {advice}" if advice else said).split())
    return line if line.endswith((".", "?")) else f"{line}."
