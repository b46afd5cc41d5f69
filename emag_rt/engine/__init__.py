"""The signal path put together: as an object, and as a daemon."""
