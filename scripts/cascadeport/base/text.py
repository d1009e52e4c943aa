"""Text on its way out of the program: safe for a terminal, and without credentials.

Names of categories, titles and what tools print come from elsewhere. A terminal obeys escape
sequences in them; a log outlives the password in an address.
"""

from __future__ import annotations

import re

# Controls of C0 and C1, line and paragraph separators, lone surrogates, and the characters that
# reorder a line (bidirectional embeddings, overrides and isolates) or that are invisible tags.
# Joiners stay: scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# What precedes the last @ of an address's host. A name alone is no secret (ssh://root@npu),
# but index and file servers take a token there.
_PASSWORD = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)(?P<user>[^/\s:@'\"]*):[^/\s'\"]*@")
_TOKEN = re.compile(r"(?P<scheme>\bhttps?://)[^/\s:@'\"]+@", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<name>[?&][\w.-]*(?:token|secret|passw(?:or)?d|signature|sig|credential|api-?key)[\w.-]*=)"
    r"[^&\s'\"]+",
    re.IGNORECASE,
)
MASK = "***"


def printable(text: str, *, lines: bool = False) -> str:
    r"""Text that no terminal obeys: control characters become escapes such as `\x1b`.

    Letters of every script stay as they are.

    Args:
        text: Anything.
        lines: Keep line ends and tabs, for text of several lines.
    """

    def escaped(match: re.Match[str]) -> str:
        letter = match[0]
        if lines and letter in "\n\t":
            return letter
        number = ord(letter)
        if letter in _SHORT:
            return _SHORT[letter]
        return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"

    return _UNSAFE.sub(escaped, text)


def redacted(text: str) -> str:
    """Text whose addresses carry no passwords and no tokens: `https://user:***@host/`."""
    text = _PASSWORD.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    text = _TOKEN.sub(rf"\g<scheme>{MASK}@", text)
    return _PARAMETER.sub(rf"\g<name>{MASK}", text)


def shown(text: str, *, lines: bool = False) -> str:
    """Text for the user: `printable` and `redacted`."""
    return printable(redacted(text), lines=lines)


def has_surrogates(text: str) -> bool:
    """Whether there is half a character in a text: such a text cannot be written as UTF-8."""
    return _SURROGATE.search(text) is not None
