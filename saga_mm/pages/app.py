"""The web page to try models on: ``saga-mm demo``, and ``app.py`` on Hugging Face Spaces."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

from saga_mm.analysis.gate_maps import KINDS
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.images.pictures import refuse_programs
from saga_mm.shipped import shipped_weights
from saga_mm.tasks.enhancement.wanted import AUTO, wanted_finish

from . import answers
from .answers import Models
from .uploads import MOST_BYTES, MOST_PIXELS, dark_samples, shape_samples

HOST, PORT = '127.0.0.1', 7860
WAITING = 20
# seconds: how often files of visitors are looked through, and how old they get
CLEANED_EVERY, OLDEST = 600, 3600
# seconds that a message stays: long enough to be read, and gone before the next result
READ = 20
NAMED = 'Start the page with `--{option} CONFIG CHECKPOINT` to use this tab.'
CSS = """
footer { display: none !important; }
.gradio-container { max-width: 72rem !important; margin: 0 auto !important; }
/* a table scrolls by itself, and does not widen the page */
.table-wrap { contain: inline-size; }
/* pictures of their own shape, all of them seen */
#gates .grid-wrap { max-height: none !important; height: auto !important; }
#gates .thumbnail-item { aspect-ratio: auto !important; height: auto !important; }
/* white on white otherwise, at the end of a slider */
.gradio-container input[type=range]::-webkit-slider-thumb { border: 1px solid gray !important; }
.gradio-container input[type=range]::-moz-range-thumb { border: 1px solid gray !important; }
@media (max-width: 40rem) {
  .gradio-container .main { padding: 0.75rem !important; }
  .tab-wrapper button { padding: 0 0.5rem !important; }
  #gates .grid-container { grid-template-columns: 1fr !important; }
}
"""


def open_page(models: Models, host: str = HOST, port: int = PORT, browser: bool = True) -> None:
    """Serve the page until it is interrupted.

    Args:
        models: What it offers.
        host: The address to listen on.
        port: The port.
        browser: Open it in a browser.

    Raises:
        SagaError: gradio is not installed, or something else listens on the port.
    """
    folder = Path(tempfile.mkdtemp(prefix='saga_mm-page-'))
    try:
        serve(build_page(models, folder), folder, host, port, browser)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def serve(page: Any, folder: Path, host: str, port: int, browser: bool = False, wait: bool = True) -> str:
    """Serve a page; its address.

    Args:
        page: Of :func:`build_page`.
        folder: The folder that it was built with.
        host: The address to listen on.
        port: The port.
        browser: Open it in a browser.
        wait: Return when it is interrupted.

    Raises:
        SagaError: Something else listens on the port, or there is no such address.
    """
    import gradio

    with socket.socket() as probe:
        # as the server will
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            problem = getattr(error, 'strerror', None) or 'must be from 0 to 65535'
            raise ArgumentError('port', port, f'{host} cannot listen on it ({problem}); choose another') from error
    # gradio serves what visitors sent and what functions returned; these hold neither
    blocked = [str(path) for path in (Path.home(), Path.cwd()) if path not in (folder, *folder.parents)]
    page.queue(max_size=WAITING, default_concurrency_limit=1)
    plain = gradio.themes.Default(
        primary_hue='blue', font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']
    )
    if wait:
        print(f'http://{host}:{port}  (Ctrl+C ends)', flush=True)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        prevent_thread_lock=not wait,
        max_file_size=MOST_BYTES,
        allowed_paths=[],
        blocked_paths=blocked,
        show_error=True,
        quiet=True,
        footer_links=[],
        ssr_mode=False,
        theme=plain,
        css=CSS,
    )
    return address


def build_page(models: Models, folder: Path) -> Any:
    """The page with its tabs.

    Args:
        models: What it offers.
        folder: For files of visitors and results; removed by whoever made it.

    Raises:
        SagaError: gradio is not installed.
    """
    # read when gradio is imported
    os.environ['GRADIO_ANALYTICS_ENABLED'], os.environ['GRADIO_TEMP_DIR'] = 'False', str(folder / 'uploads')
    try:
        import gradio
    except ImportError as error:
        raise SagaError("saga-mm demo needs gradio: pip install 'saga-mm[page]'") from error
    refuse_programs()
    results = folder / 'results'
    results.mkdir()
    options = {'title': 'saga_mm', 'analytics_enabled': False, 'delete_cache': (CLEANED_EVERY, OLDEST)}
    with gradio.Blocks(**options) as page:
        gradio.Markdown(
            '# saga_mm\nBrighten dark photographs, find objects and classes, and look into the attention that does it. '
            f'Pictures of up to {MOST_PIXELS // 10**6} megapixels and {MOST_BYTES >> 20} MB; they are deleted after '
            'an hour.'
        )
        with gradio.Tab('Enhance'):
            _enhance_tab(gradio, models, results, dark_samples(folder))
        shapes = shape_samples(folder)
        with gradio.Tab('Detect'):
            _detect_tab(gradio, models, shapes)
        with gradio.Tab('Segment'):
            _segment_tab(gradio, models, shapes)
        with gradio.Tab('Look inside'):
            _look_tab(gradio, models, dark_samples(folder) + shapes)
    return page


def with_messages(gradio: Any, function: Callable) -> Callable:
    """A function whose :class:`SagaError` the visitor reads."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except SagaError as error:
            raise gradio.Error(str(error), duration=READ, title='Not done', print_exception=False) from error

    return call


def _photo(gradio: Any, samples: list[str], label: str) -> Any:
    photo = gradio.File(label=label, file_types=['image'], type='filepath', height=140, elem_classes='photo')
    if samples:
        labels = [Path(path).stem.replace('_', ' ').capitalize() for path in samples]
        gradio.Examples([[path] for path in samples], [photo], label='Samples', example_labels=labels)
    return photo


def _enhance_tab(gradio: Any, models: Models, results: Path, samples: list[str]) -> None:
    with gradio.Row():
        with gradio.Column(scale=1):
            photo = _photo(gradio, samples, 'Dark photograph')
            weights = gradio.Dropdown(shipped_weights(), value='base', label='Weights')
            strength = gradio.Slider(0, 1.5, 1.0, step=0.05, label='Strength')
            auto = gradio.Checkbox(True, label='Automatic brightness')
            brightness = gradio.Slider(
                0.05, 0.95, 0.45, step=0.01, label='Brightness', info='Mean luminance of the result', visible=False
            )
            denoise = gradio.Slider(0, 1, 1.0, step=0.05, label='Noise removal')
            button = gradio.Button('Enhance', variant='primary', elem_id='enhance')
        with gradio.Column(scale=2):
            slider = gradio.ImageSlider(label='Before and after', interactive=False, max_height=600, elem_id='compare')
            download = gradio.DownloadButton('Download at full size', interactive=False, elem_id='download')

    # gradio finds it among the defaults
    waiting = gradio.Progress()

    def run(
        path: str | None,
        name: str,
        share: float,
        predicted: bool,
        level: float,
        clean: float,
        progress: Any = waiting,
    ) -> tuple[Any, Any]:
        finish = wanted_finish(share, AUTO if predicted else level, denoise=clean)
        pair, file = answers.enhance(path, name, finish, results, models.device, partial(_tell, progress))
        return pair, gradio.DownloadButton(value=file, interactive=True)

    auto.change(lambda on: gradio.Slider(visible=not on), [auto], [brightness], api_name=False, queue=False)
    asked = [photo, weights, strength, auto, brightness, denoise]
    button.click(with_messages(gradio, run), asked, [slider, download], api_name='enhance')


def _tell(progress: Any, share: float, what: str) -> None:
    progress(share, desc=what)


def _detect_tab(gradio: Any, models: Models, samples: list[str]) -> None:
    if models.detect is None:
        gradio.Markdown(NAMED.format(option='detect'))
        return
    with gradio.Row():
        with gradio.Column(scale=1):
            photo = _photo(gradio, samples, 'Picture')
            threshold = gradio.Slider(0.05, 0.95, 0.5, step=0.05, label='Lowest score')
            button = gradio.Button('Detect', variant='primary', elem_id='detect')
        with gradio.Column(scale=2):
            drawn = gradio.AnnotatedImage(label='Objects', elem_id='objects')
            table = gradio.Dataframe(
                elem_classes='table', headers=['class', 'score', 'box'], label='Objects, the surest first', wrap=True
            )

    def run(path: str | None, lowest: float) -> Any:
        marked, colours, rows = answers.detect(path, models.detect, lowest, models.device)
        if not rows:
            gradio.Info(f'No object has a score of {lowest:g} or more. Try a lower one.', duration=READ, title='Done')
        return gradio.AnnotatedImage(value=marked, color_map=colours), rows

    button.click(with_messages(gradio, run), [photo, threshold], [drawn, table], api_name='detect')


def _segment_tab(gradio: Any, models: Models, samples: list[str]) -> None:
    if models.segment is None:
        gradio.Markdown(NAMED.format(option='segment'))
        return
    with gradio.Row():
        with gradio.Column(scale=1):
            photo = _photo(gradio, samples, 'Picture')
            button = gradio.Button('Segment', variant='primary', elem_id='segment')
        with gradio.Column(scale=2):
            drawn = gradio.AnnotatedImage(label='Classes', elem_id='classes')
            table = gradio.Dataframe(headers=['class', 'share'], label='Share of the pixels')

    def run(path: str | None) -> Any:
        marked, colours, rows = answers.segment(path, models.segment, models.device)
        return gradio.AnnotatedImage(value=marked, color_map=colours), rows

    button.click(with_messages(gradio, run), [photo], [drawn, table], api_name='segment')


def _look_tab(gradio: Any, models: Models, samples: list[str]) -> None:
    subjects = [*shipped_weights(), *([Path(models.look[0]).stem] if models.look else [])]
    titles = {'product of the two': 'product', 'key gate': 'key', 'value gate': 'value'}
    assert set(titles.values()) == set(KINDS)
    with gradio.Row():
        with gradio.Column(scale=1):
            photo = _photo(gradio, samples, 'Picture')
            subject = gradio.Dropdown(subjects, value='tiny', label='Model')
            kind = gradio.Radio(list(titles.items()), value='product', label='Gate')
            button = gradio.Button('Look inside', variant='primary', elem_id='look')
        with gradio.Column(scale=2):
            gradio.Markdown('Gates of each layer and their mean, from blue (closed) to yellow (open)')
            gallery = gradio.Gallery(
                label='Gates', show_label=False, columns=2, height='auto', object_fit='contain', elem_id='gates'
            )
            headers = ['layer', 'key', 'value', 'both', 'rank']
            table = gradio.Dataframe(
                headers=headers, label='Means of the gates, and effective rank of the state', wrap=True
            )
            note = gradio.Markdown()

    def run(path: str | None, name: str, side: str) -> Any:
        return answers.look_inside(path, name, side, models)

    button.click(with_messages(gradio, run), [photo, subject, kind], [gallery, table, note], api_name='look')
