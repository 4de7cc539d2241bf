"""The messages of a body: MLLP frames, FHS/BHS batches, several messages in a row; each found once, and nothing between them dropped."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from lab_insights.lab.records import Rejected

START, END = "\x0b", "\x1c"
_BOUNDS = frozenset({"MSH", "FHS", "BHS", "BTS", "FTS"})
# A line feed ends a segment where the next one begins, or the body ends; any other is a character of a text.
_LINE_FEED = re.compile(r"\n+(?=[A-Z][A-Z0-9]{2}(?:[^\w\s]|\r|\n|\Z)|\r|\Z)")
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


def messages(body: str) -> Iterator[list[str] | Rejected]:
    """Yield the segments of each message of a body, or why a stretch of it is no message."""
    body = body.removeprefix("\ufeff")
    if START not in body:
        yield from _unframed(body.rstrip("\x1c\r\n\x00 "))
        return
    before, *frames = body.split(START)
    if before.strip("\r\n "):
        yield Rejected("text stands outside of an MLLP frame")
    for frame in frames:
        inside, end, after = frame.partition(END)
        if not end:
            yield Rejected("an MLLP frame has no end: the message may be cut short")
            continue
        yield from _unframed(inside)
        if after.strip("\r\n \x1c"):
            yield Rejected("text stands outside of an MLLP frame")


def _unframed(text: str) -> Iterator[list[str] | Rejected]:
    if not text.strip():
        yield Rejected("the body is empty")
        return
    lines = segments(text)
    if lines[0][:3] == "MSH" and _BOUNDS.isdisjoint(line[:3] for line in lines[1:]):
        yield lines
        return
    yield from _batched(lines)


def segments(text: str) -> list[str]:
    """Return the segments of a text: ended by CR, LF or both."""
    if "\n" in text:
        lines = [line for line in text.replace("\n", "\r").split("\r") if line]
        # The expression below says the same of every text, thirty times slower than this does of most.
        alike = {lines[0][3:4], ""}
        if all(line[3:4] in alike and is_name(line[:3]) for line in lines):
            return lines
        text = _LINE_FEED.sub("\r", text.replace("\r\n", "\r"))
    return [line for line in text.split("\r") if line]


def _batched(lines: list[str]) -> Iterator[list[str] | Rejected]:
    """Yield the messages between the headers and trailers of a batch; a trailer that counts others than there are is told."""
    current: list[str] = []
    found, stray = 0, False
    for line in lines:
        name = line[:3]
        if name in _BOUNDS:
            if current:
                yield current
            current, stray = [line] if name == "MSH" else [], False
            found = 0 if name == "BHS" else found + (name == "MSH")
            if name == "BTS" and (told := _counted(line)) is not None and told != found:
                yield Rejected("BTS-1 counts other than the messages of the batch: some may be missing")
        elif current:
            current.append(line)
        elif not stray:
            stray = True
            yield Rejected("text stands where no message has begun: before the first MSH segment, or behind a batch")
    if current:
        yield current


def _counted(trailer: str) -> int | None:
    digits = trailer[4:].split(trailer[3:4] or "|", 1)[0].strip()
    return int(digits) if digits.isascii() and digits.isdigit() else None


@functools.lru_cache(4096)
def is_name(text: str) -> bool:
    """Return whether a text can be the name of a segment."""
    return _NAME.fullmatch(text) is not None
