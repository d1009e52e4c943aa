"""Freezes a finished run into an image, and packs it into a folder that travels. docs/freeze.md."""
