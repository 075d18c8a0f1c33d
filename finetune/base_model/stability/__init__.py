"""Stability's own file layout: names of weights, geometry, streaming a checkpoint into diffusers' modules."""
