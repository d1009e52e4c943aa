"""Explains why two rows differ: the first tensor beyond noise, and what each change costs."""
