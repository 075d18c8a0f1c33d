"""Where a recording is cut, and the clips that come of it."""
