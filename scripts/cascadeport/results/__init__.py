"""Results: each target's result, the comparison of several, and the report."""
