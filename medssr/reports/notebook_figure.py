"""A figure that a notebook shows and that is written as a small PNG; imports matplotlib."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

_DPI = 180


class NotebookFigure(Figure):
    """A figure of matplotlib that notebooks show also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png", dpi=_DPI)
        return stream.getvalue()

    def write_png(self, path: Path) -> None:
        """Writes the figure in 256 colours, which merges shades at the edges of shapes: about a third of the bytes."""
        full = Image.open(BytesIO(self._repr_png_())).convert("RGB")
        full.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
