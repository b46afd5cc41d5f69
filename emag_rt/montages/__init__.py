"""Where electrodes are: standard montages, files, places that nobody wore."""
