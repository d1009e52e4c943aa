"""python -m cascadeport.scenes FOLDER --count N --seed S"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.scenes.dataset import generate


def main(arguments: list[str] | None = None) -> int:
    """Draw scenes into a folder; returns 0, or 2 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m cascadeport.scenes", description="Draw scenes in COCO layout."
    )
    parser.add_argument("folder", type=Path, help="an empty or new folder")
    parser.add_argument("--count", type=int, default=200, help="pictures (default: 200)")
    parser.add_argument("--seed", type=int, default=2017, help="seed (default: 2017)")
    options = parser.parse_args(arguments)
    try:
        generate(options.folder, options.count, options.seed)
    except CascadeportError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(
            CascadeportError(
                f"The scenes could not be written: {error.strerror}.",
                where=str(error.filename or options.folder),
                next="Check the space left and the folder's permissions.",
            ),
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
