"""What a slice sounds like: kit pieces, density, dynamics, brightness, room, width, key."""
