"""How fast it is, measured side by side with what it is built on: ``python -m benchmarks``."""
