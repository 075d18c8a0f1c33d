"""Training the ear for kit pieces: `python -m data_prep.kit_training`. Nothing here runs when datasets are prepared."""
