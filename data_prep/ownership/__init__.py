"""Whose recordings these are, and by what right they may be learned from."""
