"""Texts that differ in nothing but the random end of a quoted name, such as that of a load's schema for its stage tables, are parsed once."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from snowflake.connector.errors import Error

# capital letters, so that no rule of case tells them from the zeros that stand for them
_END = re.compile(r'(?<=_)[0-9A-F]{32}(?=")')
_ANY = "0" * 32
_COMMENT = re.compile(r"--|//|/\*")


def alike(text: str) -> tuple[str, Callable[[str], str]]:
    """Return what `text` has in common with those that are like it, and what makes a part of that its own again."""
    ends = set(_END.findall(text))
    if len(ends) != 1 or _ANY in text or _COMMENT.search(text):
        return text, str
    (end,) = ends
    return text.replace(end, _ANY), lambda part: part.replace(_ANY, end)


def parsing(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return `parse`, asked once for all texts that are alike."""
    once = lru_cache(128)(parse)

    def parsed(text: str) -> Any:
        common, own = alike(text)
        if common == text:
            return parse(text)
        try:
            tree = once(common).copy()
        except Error:
            return parse(text)  # so that the error shows the text itself
        for node in tree.walk():
            for name, value in list(node.args.items()):
                if isinstance(value, str):
                    node.set(name, own(value))
                elif isinstance(value, list) and any(isinstance(each, str) for each in value):
                    node.set(name, [own(each) if isinstance(each, str) else each for each in value])
        return tree

    return parsed
