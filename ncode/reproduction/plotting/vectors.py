"""A figure in vectors: the same bytes for the same drawing, and small enough to download."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

MOST_POINTS = 2000
"""An artist of more points is a picture inside the file: as paths it would weigh more than all the rest."""


def svg(drawing: Figure) -> str:
    """``drawing`` as SVG, without the time at which it was drawn and with no request for a font."""
    for artist in drawing.findobj(_is_heavy):
        artist.set_rasterized(True)
    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "ncode", "svg.fonttype": "path"}):
        drawing.savefig(text, format="svg", dpi=150, bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()


def _is_heavy(artist: Artist) -> bool:
    if isinstance(artist, Line2D):
        return len(artist.get_xydata()) > MOST_POINTS
    if isinstance(artist, Collection):
        points = max(len(artist.get_offsets()), sum(len(path.vertices) for path in artist.get_paths()))
        return points > MOST_POINTS
    return False
