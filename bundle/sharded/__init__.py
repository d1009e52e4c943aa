"""A job in shards: each run by itself, wherever, and merged into what one run would have given.

record.py   what a finished shard says of itself, and whether it still is what it says
work.py     runs a shard, once
rows.py     the shards' lines, in the order of the job
merge.py    merges all shards of a job, and refuses what is not all of them
times.py    the times of a fleet: per device and together
"""
