"""The command ``fedcore``: what people type, and what they see of it."""
