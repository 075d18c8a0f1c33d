"""Recordings that are copies of each other, so that none is held out from itself."""
