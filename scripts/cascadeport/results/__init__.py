"""Results: one target's record, the comparison of several, and the report."""
