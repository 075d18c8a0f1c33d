"""From a folder of recordings to a dataset of slices."""
