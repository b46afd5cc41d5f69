"""What many people's heads have in common: a field for a head whose HD nobody measured."""
