"""The one exception whose text is meant for the musician."""


class WoodshedError(Exception):
    """What is wrong, where, and what to do, in a sentence; the command prints it and exits with 1."""
