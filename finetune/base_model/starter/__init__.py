"""The starter base: a small Stable Audio 3 that plays drums, trained from scratch on synthesised sound."""
