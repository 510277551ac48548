"""Merging the stored log with live pieces: each byte once, whatever is lost, repeated or late on the way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.api.core import live_log
from services.api.core.live_log import LiveLog

CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="aé€😀\n", max_size=30).map(str.encode),
    st.tuples(st.text(alphabet="é€😀", max_size=10), st.binary(max_size=5)).map(lambda two: two[0].encode() + two[1]),
)


@settings(max_examples=500)
@given(st.data())
def test_each_byte_comes_once_and_no_character_is_cut(data: st.DataObject) -> None:
    content = data.draw(CONTENTS)
    size = len(content)
    # A client resumes where a piece ended, which is never within a character.
    borders = [n for n in range(size + 1) if n == size or content[n] & 0xC0 != 0x80]
    offset = data.draw(st.sampled_from(borders))
    log = LiveLog(offset)
    spans = st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted)
    texts = []
    stored = 0
    for is_live, (start, end) in data.draw(st.lists(st.tuples(st.booleans(), spans), max_size=20)):
        if is_live:
            log.add(start, content[start:end])
        else:  # the store grows, and is read from where the follower is
            stored = max(stored, end)
            log.add(log.reach, content[log.reach : stored])
        texts += log.take(final=False)
    log.add(log.reach, content[log.reach :])
    texts += log.take(final=True)
    assert "".join(one.text for one in texts) == content[offset:].decode("utf-8", "replace")
    assert [one.start for one in texts] == [offset, *(one.end for one in texts)][: len(texts)]
    assert (texts[-1].end if texts else offset) == log.reach == size
    assert not log.is_short


def test_a_gap_is_seen_and_filled() -> None:
    log = LiveLog(0)
    log.add(3, b"def")
    gaps = [log.is_short]
    assert log.take(final=False) == []
    log.add(0, b"abcd")
    assert [*gaps, log.is_short] == [True, False]
    [text] = log.take(final=False)
    assert (text.start, text.end, text.text) == (0, 6, "abcdef")


def test_what_overlaps_is_used_at_once_and_of_two_the_longer_waits() -> None:
    log = LiveLog(0)
    log.add(0, b"abc")
    log.add(1, b"bcde")
    assert log.reach == 5
    log.add(7, b"h")
    log.add(7, b"hij")
    log.add(7, b"hi")
    log.add(5, b"fg")
    assert [one.text for one in log.take(final=False)] == ["abcdefghij"]


def test_what_waits_behind_a_gap_is_bounded_and_the_newest_stays() -> None:
    log = LiveLog(0)
    piece = bytes(1 << 16)
    number = live_log.MOST_AHEAD_BYTES // len(piece) + 3
    for n in range(number):
        log.add(1 + n * len(piece), piece)
    log.add(0, bytes(1 + 3 * len(piece)))
    assert log.reach == 1 + number * len(piece)


def test_long_output_comes_in_measured_pieces() -> None:
    log = LiveLog(0)
    content = "€".encode() * 100_000
    log.add(0, content)
    texts = log.take(final=False)
    assert all(len(one.text.encode()) <= live_log.MOST_TEXT_BYTES for one in texts)
    assert "".join(one.text for one in texts).encode() == content
