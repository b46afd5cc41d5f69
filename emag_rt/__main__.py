"""``python -m emag_rt`` is the ``emag-rt`` command."""

from emag_rt.cli.main import main

if __name__ == "__main__":
    main()
