"""Every setting of the program: pydantic models with units, ranges and presets. Imports no torch."""
