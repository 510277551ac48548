"""Texts that try to be more than text: lines, orders to a terminal, another direction, the end of a header."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "newline": "a\n2025-10-16 14:00:00 [INFO] ⚡ TRIGGERED: forged",
    "carriage return": "a\r2025-10-16 14:00:00 [INFO] forged",
    "both": "a\r\nSet-Cookie: forged=1\r\n\r\n<script>",
    "vertical tab and form feed": "a\x0bforged\x0cforged",
    "separators of files, groups, records": "a\x1cforged\x1dforged\x1eforged",
    "next line": "a\x85forged",
    "line and paragraph separator": "a\u2028forged\u2029forged",
    "clear the screen": "a\x1b[2J\x1b[Hforged",
    "colour": "a\x1b[31mred\x1b[0m",
    "window title": "a\x1b]0;forged\x07",
    "clipboard": "a\x1b]52;c;Zm9yZ2Vk\x1b\\",
    "device control": "a\x1bP+q544e\x1b\\",
    "one-byte CSI": "a\x9b2Jforged",
    "one-byte OSC": "a\x9d0;forged\x9c",
    "backspaces": "a\b\b\bforged",
    "bell, delete": "a\x07\x7f",
    "override of the direction": "a\u202eforged\u202d\u202c",
    "embeddings": "a\u202aforged\u202b",
    "isolates": "a\u2066forged\u2067\u2068\u2069",
}
"""By what they try. NUL and lone surrogates are apart: PostgreSQL and UTF-8 refuse those."""

FORBIDDEN = frozenset(
    [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))]
    + [chr(code) for code in range(0x2066, 0x206A)]
)
"""No line for people may have one of these in it."""


def leaks(line: str) -> list[str]:
    """What of this line, which has no line break of its own, steers more than its text."""
    return sorted({ascii(sign) for sign in line if sign in FORBIDDEN})
