"""Bodies of every shape: each message is found once, and what is none is told with its reason."""

from __future__ import annotations

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_insights.lab.hl7.framing import messages, segments
from lab_insights.lab.records import Rejected

ONE, TWO = "MSH|^~\\&|A\rPID|1", "MSH|^~\\&|B\rPID|2\rZPI|own"
HEADER, TRAILER = "BHS|^~\\&|lab", "BTS|2"


def found(body: str) -> list[str]:
    """The messages of a body, their segments ended by CR; those rejected as `!` and the reason."""
    return [f"!{each.reason}" if isinstance(each, Rejected) else "\r".join(each) for each in messages(body)]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"], ids=["CR", "LF", "CRLF"])
@pytest.mark.parametrize("tail", ["", "\r", "\r\n\r\n", "\x1c\r"], ids=["bare", "ended", "blank lines", "end of a frame"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "BOM"])
def test_a_message_is_found_whatever_ends_its_segments(end: str, tail: str, mark: str) -> None:
    assert found(mark + TWO.replace("\r", end) + tail) == [TWO]


def test_frames_of_mllp_are_messages_each() -> None:
    assert found(f"\x0b{ONE}\r\x1c\r\x0b{TWO}\r\x1c\r") == [ONE, TWO]


def test_a_frame_without_an_end_may_be_cut_short_and_is_not_read() -> None:
    first, second = found(f"\x0b{ONE}\r\x1c\r\x0b{TWO}")
    assert (first, second[0]) == (ONE, "!")
    assert "cut short" in second


def test_text_outside_of_frames_is_told() -> None:
    assert found(f"noise\x0b{ONE}\x1c\r more") == [
        "!text stands outside of an MLLP frame",
        ONE,
        "!text stands outside of an MLLP frame",
    ]


def test_batches_of_files_are_split_at_each_header() -> None:
    assert found(f"FHS|^~\\&\r{HEADER}\r{ONE}\r{TWO}\r{TRAILER}\r{HEADER}\r{ONE}\rBTS|1\rFTS|2") == [ONE, TWO, ONE]
    assert found(f"{ONE}\r{TWO}") == [ONE, TWO]


def test_a_batch_that_counts_other_messages_than_it_holds_is_told_beside_them() -> None:
    *held, told = found(f"{HEADER}\r{ONE}\rBTS|2")
    assert held == [ONE]
    assert told.startswith("!BTS-1 counts other")


def test_segments_before_the_first_header_or_behind_a_batch_are_told_once() -> None:
    stray = "!text stands where no message has begun: before the first MSH segment, or behind a batch"
    assert found(f"{HEADER}\rPID|1\rPV1|1\r{ONE}\rBTS|1\rNTE|1") == [stray, ONE, stray]


@pytest.mark.parametrize("body", ["", " \r\n", "\x0b\x1c\r"])
def test_nothing_is_told_as_nothing(body: str) -> None:
    assert found(body) == ["!the body is empty"]


def test_a_line_feed_within_a_text_is_a_character_of_it_even_where_it_looks_like_a_name() -> None:
    text = "MSH|^~\\&|A\rNTE|1||first\nsecond line\nBUN is high\rPID|1"
    assert segments(text) == ["MSH|^~\\&|A", "NTE|1||first\nsecond line\nBUN is high", "PID|1"]


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x0b\x1c\x00\ufeff", exclude_categories=("Cs",)), max_size=20)
MESSAGE = st.lists(st.tuples(st.sampled_from(["PID", "OBX", "ZXX", "NTE"]), LINE), max_size=5).map(
    lambda rows: "\r".join(["MSH|^~\\&|x", *(f"{name}|{line}" for name, line in rows)])
)


@settings(max_examples=50, deadline=None)
@given(st.lists(MESSAGE, min_size=1, max_size=4))
def test_a_batch_holds_what_python_hl7_finds_in_it(each: list[str]) -> None:
    body = "\r".join([HEADER, *each, f"BTS|{len(each)}"])
    # That library strips the ends of lines, which are data: lines are compared without them.
    expected = [[line.strip() for line in text.strip("\r").split("\r")] for text in hl7.split_file(body)]
    assert [[line.strip() for line in text.split("\r")] for text in found(body)] == expected
