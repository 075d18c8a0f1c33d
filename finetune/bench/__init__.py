"""What Woodshed says of itself, measured: each figure with its target, on this machine."""
