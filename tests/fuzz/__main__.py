"""python -m tests.fuzz: fuzzes every subject, in turn, for as long as wanted."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import kills, runner

# Of each turn, seconds per subject.
_TURN_S = 20.0
_KEEP = runner.REPOSITORY / "build" / "fuzz"


def main() -> int:
    """Runs what the arguments say; 1 if there was a finding."""
    options = _parser().parse_args()
    chosen = [options.subject] if options.subject else [*runner.SUBJECTS, "kills"]
    if options.case is not None:
        return _again(options.subject, options.seed, options.case)
    end = time.monotonic() + options.seconds
    following = dict.fromkeys(chosen, 0)
    found = 0
    print(f"seed {options.seed}, {options.seconds:.0f} s, findings go to {_KEEP}", flush=True)
    while (left := end - time.monotonic()) > 0:
        for name in chosen:
            seconds = min(_TURN_S, max(1.0, left / len(chosen)))
            if name == "kills":
                found += _kill(options.seed + following[name], seconds)
                following[name] += 1
                continue
            report = runner.run(
                runner.SUBJECTS[name],
                options.seed,
                first=following[name],
                seconds=seconds,
                keep=_KEEP,
            )
            following[name] += report.outcomes.total()
            counts = ", ".join(f"{n} {what}" for what, n in sorted(report.outcomes.items()))
            print(f"{name:<14} {counts}; {following[name]} in all", flush=True)
            for finding in report.findings:
                print(f"  FINDING {finding.case}: {finding.what}\n    {finding.kept}", flush=True)
            found += len(report.findings)
    print(f"{found} findings" if found else "nothing found", flush=True)
    return 1 if found else 0


def _kill(seed: int, seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="cascadeport-kills-") as folder:
        try:
            done = kills.run(Path(folder), seed, None, seconds)
        except AssertionError as error:
            kept = _KEEP / f"kills-{seed}"
            kept.mkdir(parents=True, exist_ok=True)
            again = f"python -m tests.fuzz --subject kills --seed {seed}"
            (kept / "finding.txt").write_text(f"Again: {again}\n\n{error}\n", encoding="utf-8")
            print(f"  FINDING kills-{seed}: {error}\n    {kept}", flush=True)
            return 1
    print(f"{'kills':<14} {done} runs killed, the same table afterwards", flush=True)
    return 0


def _again(subject: str, seed: int, case: int) -> int:
    """Repeats one case and shows everything."""
    report = runner.run(runner.SUBJECTS[subject], seed, first=case, cases=1, keep=_KEEP)
    for finding in report.findings:
        print((finding.kept / "finding.txt").read_text(encoding="utf-8"))
    print(dict(report.outcomes))
    return 1 if report.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    number = os.environ.get
    parser.add_argument("--seconds", type=float, default=float(number("FUZZ_SECONDS") or 600))
    parser.add_argument("--seed", type=int, default=int(number("FUZZ_SEED") or time.time()))
    parser.add_argument("--subject", choices=[*runner.SUBJECTS, "kills"])
    parser.add_argument("--case", type=int, help="repeat this case of the subject and seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
