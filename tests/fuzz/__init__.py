"""Seeded fuzzing: `make fuzz FUZZ_SECONDS=600 FUZZ_SEED=1`, or `python -m tests.fuzz`.

A *subject* is a part of the program that reads what somebody else wrote. A *case* is what it is
given: valid files, changed at random by the seed and the case's number. Each case is run in a child
process with limits; a *finding* is one of

- an exception other than the program's own errors, or one of them that says nothing;
- a case that takes more than ten seconds of processor time, or two minutes altogether;
- one that needs more than 768 MiB beyond what the process had, or that ends the process;
- accepted nonsense: a case that was taken, although what was made of it cannot be right. Each
  subject says what that is.

A finding is kept in build/fuzz/ with its files and the command that repeats it.
"""
