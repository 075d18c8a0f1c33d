"""The local page on which a person hears, mends, accepts and rejects the slices of a dataset."""
