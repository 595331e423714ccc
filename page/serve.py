"""Serve the built page on this machine, isolated as browsers want it before they allow threads.

usage: python page/serve.py [FOLDER] [PORT]   (build/page, 8000)
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / 'build' / 'page'


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, with the headers of an isolated page."""

    def guess_type(self, path: str) -> str:
        # where the system's list of types lacks it, a browser would not load the module
        return 'text/javascript' if str(path).endswith('.mjs') else super().guess_type(path)

    def end_headers(self) -> None:
        self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
        self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
        super().end_headers()


def main(argv: list[str]) -> int:
    if {'-h', '--help'} & set(argv) or len(argv) > 2 or not all(port.isdigit() for port in argv[1:]):
        print(__doc__)
        return 0 if {'-h', '--help'} & set(argv) else 2
    folder, port = Path(argv[0]) if argv else FOLDER, int(argv[1]) if len(argv) > 1 else 8000
    if not (folder / 'index.html').is_file():
        print(f'page/serve.py: {folder} has no page in it; make page builds it', file=sys.stderr)
        return 1
    server = ThreadingHTTPServer(('127.0.0.1', port), partial(Handler, directory=str(folder)))
    print(f'http://127.0.0.1:{port}  (Ctrl+C ends)', flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
