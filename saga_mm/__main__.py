"""``python -m saga_mm``: the same as ``saga-mm``."""

import signal

if __name__ == '__main__':
    # without a traceback until the command can say a line
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from saga_mm.cli.main import main

    main()
