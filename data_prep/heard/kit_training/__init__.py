"""Training the ear for kit pieces: `python -m data_prep.heard.kit_training`. Datasets are prepared without it."""
