"""What is exported: a graph and its metadata."""

from __future__ import annotations

from typing import Any, NamedTuple

from saga_mm.errors import SagaError
from saga_mm.onnx.facts import Facts
from saga_mm.version import __version__

from .graphs import ExportGraph


class ExportSubject(NamedTuple):
    """What is exported.

    Attributes:
        graph: What the file computes.
        facts: What the file says of it.
        note: What the user should know, such as that weights are random; empty if there is nothing.
    """

    graph: ExportGraph
    facts: Facts
    note: str = ''


def with_facts(graph: ExportGraph, note: str = '', **facts: Any) -> ExportSubject:
    """A graph with its facts.

    Raises:
        SagaError: The facts are not in order.
    """
    required = {'kind': graph.kind, 'version': __version__, 'input': graph.input, 'output': graph.output}
    made = Facts(**required, pad_divisor=graph.pad_divisor, **facts)
    try:
        # what the reader would refuse is found out before the work
        Facts.from_metadata(made.to_metadata())
    except ValueError as error:
        raise SagaError(f'the file would not be read again, since {error}') from error
    return ExportSubject(graph, made, note)
