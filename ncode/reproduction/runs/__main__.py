"""``python -m ncode.reproduction.runs``: see :mod:`ncode.reproduction.runs.cli`."""

from ncode.reproduction.runs.cli import main

main()
