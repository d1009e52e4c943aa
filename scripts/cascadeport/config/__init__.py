"""What users and targets declare, read and checked: options, cards, targets, hosts, compose files."""
