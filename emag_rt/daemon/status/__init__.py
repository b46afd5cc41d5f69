"""What the daemon says of itself: counters, outlets, file, terminal, HTTP, systemd."""
