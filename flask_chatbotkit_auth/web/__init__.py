"""The pages and the JSON API: a blueprint, its views, and how an error reads to a person."""
