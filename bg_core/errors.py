"""The one exception that users are meant to read."""


class ProductBackgroundError(ValueError):
    """An input can't be used. The message says what was found, what is accepted and what to do about it."""
