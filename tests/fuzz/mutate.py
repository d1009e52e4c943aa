"""Random changes to bytes, to JSON values and to text. All that is random comes from `draw`."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

# Values that programs are not written for.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"), "", "0", "nan", "\0", "\ud83d", "\u202e", "\x1b[31m",
    "../../etc/passwd", "/dev/zero", "é" * 300, [], {}, [[]], {"": None}, [None] * 3,
)  # fmt: skip
_WORDS = ("0", "-1", "1e999", "nan", "1" * 400, '"', "'", "[", "]", "{", "}", ",", "=", "\n", "\0",
          "\ud7ff", "true", '"/dev/zero"', "#", "\\u0000", "\\ud83d", "é", "\x1b[2J")  # fmt: skip


def content(data: bytes, draw: random.Random) -> bytes:
    """Bytes with some of them changed, removed, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5, 20))):
        at = draw.randrange(len(changed) + 1)
        length = min(draw.choice((1, 2, 4, 16, 200)), len(changed) - at)
        what = draw.randrange(7)
        if what == 0 and length:
            changed[at] ^= 1 << draw.randrange(8)
        elif what == 1 and length:
            changed[at : at + length] = draw.randbytes(length)
        elif what == 2:
            del changed[at : at + length]
        elif what == 3:
            changed[at:at] = changed[at : at + length] * draw.choice((1, 2, 50))
        elif what == 4:
            changed[at:at] = draw.choice((b"\0", b"\xff", b"\xff\xd9", b"\x7f\xff\xff\xff"))
        elif what == 5 and length:
            changed[at : at + length] = draw.choice((b"\0", b"\xff", b"\x80")) * length
        elif draw.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def value(root: Any, draw: random.Random) -> Any:
    """A JSON value with one to four of its places changed."""
    changed = copy.deepcopy(root)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = draw.choice(places)
        draw.choice(_CHANGES)(holder, key, draw)
    return changed


def text(root: str, draw: random.Random) -> str:
    """Text with some words of it replaced, removed, swapped or doubled."""
    lines = root.splitlines()
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(lines))
        words = lines[at].split(" ")
        place = draw.randrange(len(words))
        what = draw.randrange(6)
        if what == 0:
            words[place] = draw.choice(_WORDS)
        elif what == 1:
            words[place] = words[place][: draw.randrange(len(words[place]) + 1)]
        elif what == 2:
            words[place] += draw.choice(_WORDS)
        elif what == 3:
            words = draw.choice(lines).split(" ")
        elif what == 4:
            words = []
        else:
            words *= draw.choice((2, 40))
        lines[at] = " ".join(words)
    return "\n".join(lines) + "\n"


Place = tuple[Any, Any]


def _places(root: Any) -> list[Place]:
    """Every place in a value: what holds it, and its key or index."""
    found: list[Place] = []
    holders = [root]
    while holders:
        holder = holders.pop()
        keys: Any = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                holders.append(holder[key])
    return found


def _odd(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = copy.deepcopy(draw.choice(ODD))


def _near(holder: Any, key: Any, draw: random.Random) -> None:
    """Another value of the same kind."""
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int):
        holder[key] = old + draw.choice((-1, 1, 10, -1000))
    elif isinstance(old, float):
        holder[key] = old * draw.choice((0.5, 1.001, -1, 10))
    elif isinstance(old, str) and old:
        at = draw.randrange(len(old))
        holder[key] = old[:at] + draw.choice("0fx/ é") + old[at + 1 :]


def _remove(holder: Any, key: Any, draw: random.Random) -> None:
    del holder[key]


def _double(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[key] = [holder[key]]


def _rename(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, dict):
        holder[draw.choice(("", "id", "format", "\ud83d", "x" * 200))] = holder.pop(key)


def _swap(holder: Any, key: Any, draw: random.Random) -> None:
    other = draw.choice(range(len(holder)) if isinstance(holder, list) else list(holder))
    holder[key], holder[other] = holder[other], holder[key]


_CHANGES: tuple[Callable[[Any, Any, random.Random], None], ...] = (
    _odd, _odd, _near, _near, _remove, _double, _rename, _swap,
)  # fmt: skip
