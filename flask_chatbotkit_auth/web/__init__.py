"""The pages and the JSON API: a blueprint, its views, and the answers to errors."""
