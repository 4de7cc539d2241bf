"""All that AWS lists: what is not on the first page may be on another."""

from __future__ import annotations

from typing import Any


def every(client: Any, operation: str, key: str, **asked: Any) -> list[Any]:
    """Return what an operation lists under `key`, of all pages; Lake Formation's client has no paginator, and gives a token."""
    if client.can_paginate(operation):
        pages = client.get_paginator(operation).paginate(**asked)
        return [each for page in pages for each in page.get(key, ())]
    found: list[Any] = []
    while True:
        page = getattr(client, operation)(**asked)
        found += page[key]
        if not page.get("NextToken"):
            return found
        asked["NextToken"] = page["NextToken"]
