"""The page at `/`: drop a picture on it and see the boxes. It loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from typing import List

from bundle.frozen.layout import Frozen
from bundle.frozen.serve.messages import Answer

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")


class Page:
    """The page of a frozen folder.

    Args:
        frozen: The frozen folder.
        needs_key: Whether the server asks for an API key.

    Attributes:
        answer: The page, with a policy that allows its own script and style, by their digests,
            and requests to this server. Nothing else can run in it or be loaded by it.
    """

    def __init__(self, frozen: Frozen, needs_key: bool) -> None:
        with open(_FILE, encoding="utf-8") as stream:
            text = stream.read()
        policy = "; ".join(
            [
                "default-src 'none'",
                "script-src {}".format(" ".join(_digests(text, "script"))),
                "style-src {}".format(" ".join(_digests(text, "style"))),
                "img-src blob: data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )
        banners = "".join(
            '<p class="warning">This image is {}</p>'.format(html.escape(warning))
            for warning in frozen.warnings
        )
        values = {
            "title": html.escape("{} {}".format(frozen.name, frozen.version)),
            "model": html.escape("{}, on {}".format(frozen.title, frozen.target_title)),
            "banners": banners,
            "key": "" if needs_key else "hidden",
        }
        for name, value in values.items():
            text = text.replace("<!--{}-->".format(name), value)
            text = text.replace('data-{}="?"'.format(name), value)
        fields = (
            ("Content-Security-Policy", policy),
            ("Referrer-Policy", "no-referrer"),
            ("X-Frame-Options", "DENY"),
        )
        self.answer = Answer(200, text.encode("utf-8"), "text/html; charset=utf-8", fields)


def _digests(text: str, element: str) -> List[str]:
    """The sources of a policy that allow exactly these elements' content."""
    found = re.findall("<{0}>(.*?)</{0}>".format(element), text, re.DOTALL)
    return [
        "'sha256-{}'".format(
            base64.b64encode(hashlib.sha256(one.encode("utf-8")).digest()).decode("ascii")
        )
        for one in found
    ]
