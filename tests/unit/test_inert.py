"""Text that others wrote, made harmless to look at."""

import unicodedata

from app.domain.inert import inert


def test_ordinary_text_of_every_script_stays_as_it_is():
    for text in ("web-1", "두 번째 서버", "a\tb\nc\r\n", "שלום", "👩‍💻", "<img src=x>", ""):
        assert inert(text) == text


def test_what_steers_a_terminal_becomes_a_picture_of_itself():
    assert inert("\x1b[31mred\x07\x7f") == "␛[31mred␇␡"
    assert inert("\x9b2J") == "�2J"


def test_nothing_that_turns_the_reading_order_round_is_left():
    controls = [chr(c) for c in range(0x110000) if unicodedata.bidirectional(chr(c)) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}]
    assert len(controls) == 9
    assert inert("".join(controls) + "\u200e\u200f\u061c") == "�" * 12
