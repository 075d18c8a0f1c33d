"""Stability's own layout of Stable Audio 3: `model_config.json` and one `model.safetensors`."""
