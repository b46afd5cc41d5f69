"""The daemon: the loop, its time line and its policies; status/ tells of it."""
