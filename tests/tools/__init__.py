"""Tools that make what tests stand on; run by hand, `python -m tests.tools.NAME`."""
