"""A live view of a daemon in a browser: a process of its own, fed by the daemon's outlets.

``emag-rt serve --dashboard`` starts it, and ``emag-rt dashboard NAME`` attaches one by hand. It
reads what any receiver can read, so it costs the serving loop nothing.
"""
