"""A figure that a notebook shows; imports matplotlib."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

DPI = 180


class NotebookFigure(Figure):
    """A figure of matplotlib that notebooks show also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=DPI)
        return stream.getvalue()
