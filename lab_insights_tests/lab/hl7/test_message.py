"""One message: delimiters, escapes and fields, as python-hl7 reads them."""

from __future__ import annotations

from typing import Any

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_insights.lab.hl7.message import Delimiters, Message, split
from lab_insights.lab.records import CLEARED, Rejected

HEADER = "MSH|^~\\&|APP|LAB|||20260301101500+0200||ORU^R01^ORU_R01|c1|P|2.5.1"


def message(*lines: str, header: str = HEADER) -> Message:
    return split([header, *lines])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("MSH|^~\\&|", "|^~\\&\x00"),
        ("MSH|^~\\&#|", "|^~\\&#"),
        ("MSH$%!*@$", "$%!*@\x00"),
        ("MSH|^|", "|^\x00\x00\x00\x00"),
    ],
)
def test_delimiters_are_those_that_the_header_declares(header: str, expected: str) -> None:
    its = Delimiters.of(header)
    assert f"{its.field}{its.component}{its.repetition}{its.escape}{its.subcomponent}{its.truncation}" == expected


@pytest.mark.parametrize("header", ["MSH", "MSH|", "MSH||APP", "MSHA^~\\&A", "MSH|^^\\&|", "MSH|^~\\&#%|", "MSH|^~\\a|", "MSH|^~ &|"])
def test_a_header_without_usable_delimiters_is_rejected(header: str) -> None:
    with pytest.raises(Rejected, match=r"MSH-[12]"):
        split([header + "|||||||ORU^R01"])


@pytest.mark.parametrize("line", ["garbage", "obx|1", "OBXX|1", "OB|1", "OBX^1"])
def test_a_line_that_is_no_segment_rejects_the_message_with_its_number_and_type(line: str) -> None:
    with pytest.raises(Rejected, match="line 3 is no segment") as raised:
        message("PID|1", line)
    assert (raised.value.message_type, raised.value.version) == ("ORU^R01", "2.5.1")
    assert line not in raised.value.reason


def test_what_a_reject_tells_is_never_what_a_field_holds() -> None:
    with pytest.raises(Rejected) as raised:
        split([HEADER.replace("ORU^R01^ORU_R01", "Doe^Jane").replace("2.5.1", "123-45-6789"), "x"])
    assert (raised.value.message_type, raised.value.version) == (None, None)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
        (r"one\.br\two", "one\ntwo"),
        (r"\X48C3A9\ \XE9\ ", "Hé é "),
        (r"\H\bold\N\ \Zown\ \.sp2\ \C2842\ ", r"\H\bold\N\ \Zown\ \.sp2\ \C2842\ "),
        (r"C:\dir\F\x", r"C:\dir|x"),
        ("ends with \\", "ends with \\"),
        (r"\XZZ\ \X4\ ", r"\XZZ\ \X4\ "),
        (r"\P\ ", r"\P\ "),
    ],
)
def test_escapes_are_read_and_what_is_none_stays(raw: str, text: str) -> None:
    assert message(f"NTE|1||{raw}").text(raw) == text


def test_the_truncation_character_of_a_five_character_header_is_escaped_too() -> None:
    its = message(r"NTE|1||\P\ ", header=HEADER.replace("^~\\&", "^~\\&#"))
    assert its.text(r"5\P\7") == "5#7"


def test_the_explicit_null_is_not_empty() -> None:
    its = message()
    assert its.text('""') is CLEARED
    assert its.part('""', 3) is CLEARED
    assert its.text("") is None
    assert its.part("a^b", 3) is None


def test_fields_that_were_not_sent_are_empty() -> None:
    its = message("OBX|1")
    assert its.fields(its.lines[1])[23] == ""


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8"])
def test_every_release_is_split_alike(version: str) -> None:
    assert message("PID|1", header=HEADER.replace("2.5.1", version)).version == version


# python-hl7 as the oracle

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="|^~\\&\r\n\x0b\x1c\x00", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), max_size=8
)
ESCAPE = st.sampled_from([r"\F\ ", r"\S\ ", r"\T\ ", r"\R\ ", r"\E\ ", r"\X41\ ", r"\.br\ "]).map(str.strip)
LEAF = st.lists(TEXT | ESCAPE, max_size=3).map("".join)
COMPONENT = st.lists(LEAF, min_size=1, max_size=3).map("&".join)
REPETITION = st.lists(COMPONENT, min_size=1, max_size=4).map("^".join)
FIELD = st.lists(REPETITION, min_size=1, max_size=3).map("~".join)
SEGMENT = st.lists(FIELD, min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(SEGMENT, min_size=1, max_size=4))
def test_fields_components_and_texts_are_those_of_python_hl7(rows: list[list[str]]) -> None:
    lines = ["|".join(["ZTS", *fields]) for fields in rows]
    ours, theirs = message(*lines), hl7.parse("\r".join([HEADER, *lines]))
    for number, fields in enumerate(rows, start=1):
        split_here = ours.fields(ours.lines[number])
        for place, raw in enumerate(fields, start=1):
            assert split_here[place] == raw == str(theirs[number][place])
            assert len(ours.repetitions(raw)) == (len(theirs[number][place]) if raw else 0)
            for component in range(1, 5):
                wanted = _theirs(theirs, number, place, component)
                found = ours.part(raw, component)
                assert ("" if found is None else '""' if found is CLEARED else found) == wanted


def _theirs(parsed: Any, number: int, place: int, component: int) -> str:
    try:
        text = parsed.extract_field("ZTS", number, place, 1, component, 1)
    except (IndexError, LookupError):
        return ""
    # It reads a line break as CR, we as LF.
    return str(text or "").replace("\r", "\n")
