"""The program inside a frozen image: infer, serve, selftest, about. docs/frozen-image.md.

It is the same for every target, and what it detects is said by the folder `frozen` beside the
bundle. Importing this package imports neither numpy nor a runtime.
"""
