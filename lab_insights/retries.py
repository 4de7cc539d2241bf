"""Which faults pass by themselves, and trying again after them: with growing, jittered waits for those, not at all for any other."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from lab_insights.errors import LabInsightsError, Transient, told

_T = TypeVar("_T")
# Seconds before the second and the third attempt: a failover or a lock is over by then, and a source that is down is reported within the minute.
WAITS = (2.0, 15.0)
# By name, since importing botocore takes longer than most steps; its own retries, five of them, come first.
_AWS = {"ConnectionError", "HTTPClientError", "EndpointConnectionError", "ConnectionClosedError", "ReadTimeoutError", "ConnectTimeoutError"}
_THROTTLED = {
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"),
    *("ProvisionedThroughputExceededException", "InternalError", "InternalServerError", "ServiceUnavailable", "RequestTimeout"),
}


def transient(error: BaseException) -> bool:
    """Return whether the same may succeed a moment later: a server that does not answer, a lock, a throttled service."""
    if isinstance(error, LabInsightsError):
        return isinstance(error, Transient)
    if any(each.__module__ == "botocore.exceptions" for each in type(error).__mro__):
        response = getattr(error, "response", None) or {}
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return type(error).__name__ in _AWS or response.get("Error", {}).get("Code") in _THROTTLED or status >= 500
    return isinstance(error, ConnectionError | TimeoutError)


def persistently(call: Callable[[], _T], warn: Callable[[str], None]) -> _T:
    """Return what `call` returns; after a transient fault it is called again, twice at most, and `warn` is told each time."""
    for wait in WAITS:
        try:
            return call()
        except Exception as error:
            if not transient(error):
                raise
            seconds = wait * random.uniform(0.75, 1.25)  # noqa: S311 (so that tenants that failed together do not come back together)
            warn(f"tried again in {seconds:.0f} s: {told(error)}")
            time.sleep(seconds)
    return call()
