"""Studies with their published protocols: `python -m experiments.NAME --help`."""
