"""Measures of sound: how true a reconstruction is, what a hit is, how far apart two sets of clips are."""
