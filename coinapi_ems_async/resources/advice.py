"""Says so when an order asks for what its exchange does not offer by the service's tables."""

import logging
from typing import Final, Literal

from ..errors import InvalidRequest
from ..models.ids import base_exchange
from ..models.orders import NewOrder
from ..models.support import lacking

__all__ = ["Advice"]

log: Final = logging.getLogger("coinapi_ems_async.orders")

_MOST_PASSED: Final = 4_096


class Advice:
    """Looks up each combination of account, time in force and instructions once; then an order costs 0.1 us."""

    def __init__(self, unsupported: Literal["warn", "error", "ignore"]) -> None:
        self._unsupported = unsupported
        self._told: set[tuple[str | None, str]] = set()
        self._passed: set[tuple[str, str, tuple[str, ...]]] = set()

    def check(self, order: NewOrder) -> None:
        """Warn, once for each exchange and feature. Raises InvalidRequest: instead, if that is asked for."""
        combination = (order.exchange_id, order.time_in_force, order.exec_inst)
        if combination in self._passed:
            return
        exchange = base_exchange(order.exchange_id)
        missing = lacking(order.exchange_id, order.time_in_force, order.exec_inst)
        if missing and self._unsupported == "error":
            raise InvalidRequest(
                f"{exchange} does not offer {', '.join(missing)}, says the service's table; "
                f'Settings(unsupported="warn") lets the exchange decide',
                client_order_id=order.client_order_id,
            )
        for feature in missing if self._unsupported == "warn" else ():
            if (exchange, feature) not in self._told:
                self._told.add((exchange, feature))
                log.warning(
                    "%s does not offer %s, says the service's table: the exchange may refuse the order or "
                    "overlook that",
                    exchange,
                    feature,
                )
        if len(self._passed) >= _MOST_PASSED:
            self._passed.clear()
        self._passed.add(combination)
