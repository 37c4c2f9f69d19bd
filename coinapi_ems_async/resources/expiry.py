"""An order that ends by itself at a time of its own is not sent from then on: it could only be refused."""

from datetime import UTC, datetime

from ..errors import InvalidRequest
from ..models.orders import NewOrder

__all__ = ["check_expiry", "latest_for"]


def check_expiry(order: NewOrder, *, where: str = "") -> None:
    """Raises InvalidRequest: if the order's `expire_time` has come, by this machine's clock.

    where: said before the name of the field, such as the order's place in a batch.
    """
    expires = order.expire_time
    if expires is not None and expires <= (now := datetime.now(UTC)):
        raise InvalidRequest(
            f"{where}expire_time has passed: it is {_shown(expires)}, and now it is {_shown(now)}",
            client_order_id=order.client_order_id,
        )


def latest_for(order: NewOrder, not_after: float | None) -> float | None:
    """Return when it is too late for an order to leave: `not_after`, its `expire_time`, whichever is first."""
    if order.expire_time is None:
        return not_after
    expires = order.expire_time.timestamp()
    return expires if not_after is None else min(expires, not_after)


def _shown(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
