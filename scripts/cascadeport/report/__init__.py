"""comparison.html: the comparison as one self-contained page."""

from cascadeport.report.render import render

__all__ = ["render"]
