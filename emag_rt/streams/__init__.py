"""Live transport: what a source and a sink are, their LSL forms and in-memory twins."""
