"""A headless Chromium that is told what to do by the DevTools protocol, over a pipe: no package beside the browser."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
OPTIONS = (
    '--headless=new',
    '--remote-debugging-pipe',
    '--no-first-run',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--force-color-profile=srgb',
    '--hide-scrollbars',
)
TIMEOUT = 60
KEYS = {'Tab': 9, 'Enter': 13, 'ArrowLeft': 37, 'ArrowRight': 39}


def find_browser() -> str | None:
    """The program of a Chromium or Chrome, if one is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """The browser. A context manager.

    Args:
        program: What :func:`find_browser` found.
        folder: An empty folder for its profile and downloads.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.downloads = folder / 'downloads'
        self.downloads.mkdir()
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # a sandbox needs another user than root
        sandbox = [] if os.getuid() else ['--no-sandbox']
        command = [program, *OPTIONS, *sandbox, f'--user-data-dir={folder / "profile"}', 'about:blank']

        def connect() -> None:
            # first out of the way of 3 and 4, which the browser expects
            ends = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        log = (folder / 'log').open('wb')
        self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=connect, pass_fds=(3, 4))
        log.close()
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._count, self.events = b'', 0, []
        path = str(self.downloads)
        self.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=path, eventsEnabled=True)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._count += 1
        number = self._count
        message = {'id': number, 'method': method, 'params': params} | ({'sessionId': session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b'\0')
        end = time.monotonic() + TIMEOUT
        while True:
            answer = self._receive(end - time.monotonic())
            if answer.get('id') != number:
                self.events.append(answer)
            elif 'error' in answer:
                raise RuntimeError(f'{method}: {answer["error"]["message"]}')
            else:
                return answer['result']

    def open(self, url: str, before: str = '', size: tuple[int, int] = (1200, 900), network: bool = False) -> 'Page':
        """A new page, once it is loaded.

        Args:
            url: Its address.
            before: JavaScript that runs before the page's own.
            size: Width and height of the window; below 600 pixels it is a phone.
            network: Keep what the page asks for in ``events``.
        """
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        page = Page(self, target, self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId'])
        width, height = size
        page.call('Page.enable')
        page.call('Runtime.enable')
        device = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600}
        page.call('Emulation.setDeviceMetricsOverride', **device)
        if network:
            page.call('Network.enable')
        if before:
            page.call('Page.addScriptToEvaluateOnNewDocument', source=before)
        page.call('Page.navigate', url=url)
        page.wait_for(f'location.href.startsWith({json.dumps(url)}) && document.readyState === "complete"')
        return page

    def downloaded(self, name: str) -> Path:
        """A file once it is complete."""
        path, end = self.downloads / name, time.monotonic() + TIMEOUT
        while not path.is_file():
            if time.monotonic() > end:
                raise TimeoutError(f'{name} did not arrive; there are {os.listdir(self.downloads)}')
            time.sleep(0.05)
        return path

    def _receive(self, seconds: float) -> dict[str, Any]:
        while b'\0' not in self._buffer:
            if not select.select([self._in], [], [], max(seconds, 0))[0]:
                raise TimeoutError('the browser does not answer')
            part = os.read(self._in, 2**16)
            if not part:
                raise RuntimeError('the browser has ended')
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def __enter__(self) -> 'Chromium':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    """A page of the browser. A context manager, which closes it."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, of a promise once it is kept."""
        given = {'expression': expression, 'awaitPromise': True, 'returnByValue': True}
        answer = self.call('Runtime.evaluate', **given)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails'].get('exception', {}).get('description', 'JavaScript failed'))
        return answer['result'].get('value')

    def wait_for(self, expression: str, timeout: float = TIMEOUT) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + timeout
        while not self.evaluate(f'Boolean({expression})'):
            if time.monotonic() > end:
                raise TimeoutError(f'{expression} did not become true; the page says {self.text()[:500]!r}')
            time.sleep(0.05)

    def text(self) -> str:
        """What is seen of the page's words."""
        return self.evaluate('document.body.innerText')

    def choose(self, selector: str, paths: Sequence[Path]) -> None:
        """Choose files in a file input."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[str(path) for path in paths])

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, as a user does."""
        code = {'key': key, 'code': key, 'windowsVirtualKeyCode': KEYS[key]}
        text = {'text': '\r'} if key == 'Enter' else {}
        for _ in range(times):
            self.call('Input.dispatchKeyEvent', type='keyDown', **code, **text)
            self.call('Input.dispatchKeyEvent', type='keyUp', **code)

    def names(self) -> list[tuple[str, str]]:
        """Role and name of all that a screen reader tells, in order."""
        nodes = self.call('Accessibility.getFullAXTree')['nodes']
        told = (node for node in nodes if not node.get('ignored'))
        return [(node['role']['value'], node.get('name', {}).get('value', '')) for node in told]

    def picture(self, path: Path) -> Path:
        """What is seen, as a PNG file."""
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))
        return path

    def __enter__(self) -> 'Page':
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.call('Target.closeTarget', targetId=self.target)
