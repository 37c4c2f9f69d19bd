"""Times on the wire: text with up to seven fractional digits, UTC when no zone is given (EMS guide, time)."""

from datetime import UTC, datetime

from ..errors import InvalidRequest

__all__ = ["aware", "parse_time", "wire_time"]


def parse_time(text: str | None) -> datetime | None:
    """Return the aware datetime in `text`, or None if it cannot be read.

    A text without zone is UTC. A datetime holds microseconds: the seventh digit stays only in the text.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def aware(field: str, value: object) -> datetime:
    """Return `value` in UTC.

    Raises InvalidRequest: if it is not an aware datetime; a naive one would silently mean local time to one
    reader and UTC to another.
    """
    if not isinstance(value, datetime):
        raise InvalidRequest(f"{field} must be an aware datetime, got {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidRequest(
            f"{field} is a naive datetime: say which zone is meant, for example "
            f"{field}=datetime.now(timezone.utc) or value.replace(tzinfo=timezone.utc)"
        )
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidRequest(f"{field} is {value!r}, which UTC cannot express") from None


def wire_time(moment: datetime) -> str:
    """Return an aware UTC datetime as the service writes it in query strings: no zone, which means UTC.

    Without zone there is no `+` to be mistaken for a blank. Whole seconds have no fraction, others seven
    digits (EMS guide, time).
    """
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return text[:-7] if text.endswith(".000000") else text + "0"
