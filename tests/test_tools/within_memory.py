"""``within_memory.py MORE TOOL WORDS``: a tool says which memory is enough, and works with it and MORE megabytes.

The last line has what it was allowed, and the most that this process held, in MB.
"""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path


def run(tool: str, words: list[str]) -> str:
    """What a tool says."""
    sys.argv, said = [tool, *words], io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        runpy.run_path(tool, run_name='__main__')
    return said.getvalue()


def main() -> None:
    more, tool, *words = sys.argv[1:]
    said = run(tool, [*words, '--max-memory', '1MB'])
    allowed = max(int(size) for size in re.findall(r'smallest that works is (\d+)MB', said)) + int(more)
    said += run(tool, [*words, '--max-memory', f'{allowed}MB'])
    peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]
    print(said)
    print(allowed, int(peak) // 1024)


if __name__ == '__main__':
    main()
