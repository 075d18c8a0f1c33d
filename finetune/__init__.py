"""From a dataset of slices to an adapter for Stable Audio 3."""
