"""The applications that are measured; each shows ``/page`` to a signed-in person, and serves from ``application``."""
