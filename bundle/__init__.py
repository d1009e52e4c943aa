"""The only code that touches pictures and boxes; the same on every target. See README.md."""

VERSION = "1"
