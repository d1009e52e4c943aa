"""What every other part may use: errors, files, digests, progress. It imports none of them."""
