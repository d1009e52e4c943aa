"""The frontier: how fast a detector gets before it loses more than a budget. docs/tune.md."""
