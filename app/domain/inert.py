"""Text that others wrote, made harmless to look at: no terminal sequences, nothing that turns the reading order round.

Markup is escaped by the templates; this is about characters that have no shape of their own and change what is seen
around them. Each becomes a sign that can be seen, so that nobody is left with less than there is.
"""

# U+061C … U+2069 are the twelve bidirectional controls of Unicode (UAX #9); U+2028 and U+2029 break lines nobody sees.
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
_C0 = [c for c in range(32) if chr(c) not in "\t\n\r"]
_SEEN = {**{c: 0x2400 + c for c in _C0}, 0x7F: 0x2421, **dict.fromkeys((*range(0x80, 0xA0), *map(ord, _BIDI)), 0xFFFD)}


def inert(text: str) -> str:
    """Return the text with control characters as their pictures (␛) and bidirectional controls as U+FFFD."""
    return text if text.isprintable() else text.translate(_SEEN)
