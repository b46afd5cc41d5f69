"""The ``emag-rt`` command, one file a subcommand."""
