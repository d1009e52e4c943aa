"""`python -m cascadeport`."""

import sys

from cascadeport.cli.main import main

sys.exit(main())
