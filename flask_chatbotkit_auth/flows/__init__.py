"""The use cases, one in each file, without their pages and JSON."""
