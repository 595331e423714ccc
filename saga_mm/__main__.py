"""``python -m saga_mm``: the same as ``saga-mm``."""

from saga_mm.cli.main import main

if __name__ == '__main__':
    main()
