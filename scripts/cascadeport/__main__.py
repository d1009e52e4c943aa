"""`python -m cascadeport`."""

import sys

from cascadeport.cli import main

sys.exit(main())
