"""``python -m campaign.measured FILE TOOL WORDS``: run a tool, and write into a file the most memory that it held."""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the tool that the command line names."""
    file, tool, *words = sys.argv[1:]
    sys.argv = [tool, *words]
    try:
        runpy.run_path(tool, run_name='__main__')
    finally:
        # of this program alone, where the figure of wait() begins with the memory of what started it
        peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]
        Path(file).write_text(str(int(peak) * 1024))


if __name__ == '__main__':
    main()
