"""Mail: what it says, and the way to the mail server."""
