"""Mail: composing it, and handing it to the mail server."""
