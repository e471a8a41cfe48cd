from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.wire.checksum import Sum64
from support.checksum import sum64


def checksum(*pieces: bytes) -> str:
    found = Sum64()
    for piece in pieces:
        found.update(memoryview(piece))
    return found.hexdigest()


@given(st.binary(max_size=200), st.integers(0, 25))
def test_the_sum_of_the_words_however_the_bytes_come(body, words):
    assert checksum(body) == checksum(body[: 8 * words], body[8 * words :]) == sum64(body)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_no_changed_byte_goes_unseen(body, data):
    place = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != body[place]))
    assert checksum(body) != checksum(body[:place] + bytes([other]) + body[place + 1 :])


def test_nothing_follows_a_part_of_a_word():
    with pytest.raises(ValueError, match="last"):
        checksum(b"abc", b"defgh")
