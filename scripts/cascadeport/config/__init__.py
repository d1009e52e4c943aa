"""What users and targets declare: options, cards, targets, hosts, compose files."""
