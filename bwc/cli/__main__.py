"""`python -m bwc.cli`."""

from bwc.cli.main import main

main()
