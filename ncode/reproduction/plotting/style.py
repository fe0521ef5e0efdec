"""The figures' style: one colour a model across the whole book, legible in print, in the dark and without colour.

Plotting draws what it is handed and computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

# Okabe and Ito's palette: told apart by readers with any common form of colour blindness. Dashes tell models apart
# in grey.
COLOURS = {
    "node": "#D55E00",
    "anode": "#E69F00",
    "data": "#009E73",
    "open": "#0072B2",
    "single": "#56B4E9",
    "closed": "#CC79A7",
    "gamma": "#777777",
    "mix": "#56B4E9",
    "resnet": "#222222",
    "linear": "#E69F00",
    "mapped": "#882255",
    "equal": "#CC79A7",
    "ncode": "#CC79A7",
    "lstm": "#7A4FA3",
    "ode_rnn": "#56B4E9",
    "hebb": "#000000",
    "oracle": "#999999",
    "wide": "#7A1F00",
    "autoncode": "#0072B2",
    "control": "#56B4E9",
    "autoencoder": "#D55E00",
    "double": "#E69F00",
    "vae": "#009E73",
    "sparse": "#CC79A7",
    "denoising": "#7A4FA3",
    "pixels": "#777777",
    "pca": "#222222",
    # A neural ODE with p added dimensions; p = 0 is NODE.
    "p0": "#D55E00",
    "p1": "#E69F00",
    "p2": "#117733",
    "p5": "#332288",
}
DASHES = {
    "node": "-",
    "anode": (0, (5, 1.5)),
    "data": (0, (1, 1)),
    "open": "-",
    "single": (0, (2, 2)),
    "closed": (0, (3, 1, 1, 1)),
    "gamma": (0, (2, 2)),
    "mix": (0, (6, 1, 1, 1)),
    "resnet": (0, (1, 2)),
    "linear": (0, (1, 1)),
    "mapped": (0, (4, 1)),
    "equal": (0, (6, 1, 1, 1)),
    "ncode": (0, (3, 1, 1, 1)),
    "lstm": (0, (6, 1)),
    "ode_rnn": (0, (4, 1, 1, 1, 1, 1)),
    "hebb": (0, (4, 2)),
    "oracle": (0, (1, 2)),
    "wide": (0, (4, 1, 1, 1)),
    "autoncode": "-",
    "control": (0, (2, 1)),
    "autoencoder": (0, (5, 1.5)),
    "double": (0, (3, 1, 1, 1)),
    "vae": (0, (1, 1)),
    "sparse": (0, (6, 1, 1, 1)),
    "denoising": (0, (4, 1, 1, 1, 1, 1)),
    "pixels": (0, (2, 2)),
    "pca": (0, (1, 2)),
    "p0": "-",
    "p1": (0, (5, 1.5)),
    "p2": (0, (3, 1, 1, 1)),
    "p5": (0, (1, 1)),
}
LABELS = {
    "node": "NODE",
    "anode": "ANODE",
    "data": "data control",
    "open": "N-CODE, open loop",
    "single": "N-CODE, open loop, one parameter",
    "closed": "N-CODE, closed loop",
    "gamma": "γ alone, no flow",
    "mix": "N-CODE, 3×3 only",
    "resnet": "ResNet",
    "linear": "linear map for the flow",
    "mapped": "linear map of θ",
    "equal": "autoencoder, equal parameters",
    "ncode": "N-CODE (Eq. 7)",
    "lstm": "LSTM",
    "ode_rnn": "ODE-RNN",
    "hebb": "Hebbian rule, untrained",
    "oracle": "nearest neighbour",
    "wide": "NODE, wide",
    "autoncode": "AutoN-CODE",
    "control": "AutoN-CODE, control",
    "autoencoder": "autoencoder",
    "double": "autoencoder, double size",
    "vae": "VAE",
    "sparse": "sparse autoencoder",
    "denoising": "denoising autoencoder",
    "pixels": "pixels",
    "pca": "principal components",
    "p0": "NODE (p = 0)",
    "p1": "ANODE, p = 1",
    "p2": "ANODE, p = 2",
    "p5": "ANODE, p = 5",
}
# The two classes of a toy problem; blue and orange of the same palette, never a model's line.
CLASSES = ("#56B4E9", "#B2450A")

# Streamlines behind a path: arguments of streamplot.
STREAMS = {"color": "#bbbbbb", "linewidth": 0.6, "density": 0.8, "arrowsize": 0.7}

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    # White behind every figure: text and axes stay legible on a dark page.
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "image.cmap": "cividis",
}


def use_style() -> None:
    """Make the book's style this session's, with figures at twice the screen's resolution in a notebook."""
    plt.rcParams.update(STYLE)
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    set_matplotlib_formats("retina")


def panels(
    columns: int, rows: int = 1, width: float = 2.6, height: float = 2.4, **options
) -> tuple[Figure, np.ndarray]:
    """A grid of axes, as a two-dimensional array; ``width`` and ``height`` are one panel's, in inches."""
    return plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)


def line(model: str) -> dict:
    """How ``model`` is drawn everywhere: colour, dashes and label, as keyword arguments of ``plot``."""
    return {"color": COLOURS[model], "linestyle": DASHES[model], "label": LABELS[model]}


def band(axes: Axes, x: Sequence[float] | np.ndarray, runs: np.ndarray, model: str) -> None:
    """The median over seeds as a line, smallest to largest as a band.

    Args:
        runs: one row a seed.
    """
    runs = np.asarray(runs)
    axes.fill_between(x, runs.min(0), runs.max(0), color=COLOURS[model], alpha=0.2, linewidth=0)
    axes.plot(x, np.median(runs, 0), **line(model))


def plain_log(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5 of every decade."""
    set_scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    set_scale("log")
    axis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}")


def wrap_labels(figure: Figure) -> None:
    """Set the name of an axis in two lines where one is longer than its panel and would run into the next."""
    named = [(axes, axis) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    long = [(axes, axis) for axes, axis in named if " " in axis.label.get_text() and "$" not in axis.label.get_text()]
    if not long:
        return
    figure.draw_without_rendering()
    for axes, axis in long:
        side = "width" if axis.label.get_rotation() in (0.0, 180.0) else "height"
        if getattr(axis.label.get_window_extent(), side) > getattr(axes.get_window_extent(), side):
            axis.label.set_text(_in_two(axis.label.get_text()))


def _in_two(text: str) -> str:
    """``text`` with a line break at the space nearest to its middle."""
    middle = min((k for k, c in enumerate(text) if c == " "), key=lambda k: abs(k - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


def legend(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    """One legend above all panels, from one panel's entries."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns or len(labels))


def pictures(axes: Axes, images: Float[Tensor, "rows columns c h w"] | Float[np.ndarray, "rows columns c h w"]) -> None:
    """Draw rows of images, numbers between 0 and 1, as one picture."""
    whole = torch.as_tensor(images).cpu().numpy().transpose(0, 3, 1, 4, 2)
    rows, height, columns, width, channels = whole.shape
    axes.imshow(whole.reshape(rows * height, columns * width, channels).squeeze(), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def strips(rows: Mapping[str, Float[np.ndarray, "rows columns c h w"]]) -> Figure:
    """Draw rows of images below one another, with their names at the left."""
    figure, axes = panels(1, len(rows), width=6.4, height=0.5)
    for axis, (text, images) in zip(axes[:, 0], rows.items(), strict=True):
        pictures(axis, images)
        axis.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def mosaic(blocks: Mapping[str, Float[np.ndarray, "rows columns c h w"]], width: float, height: float) -> Figure:
    """Draw blocks of images, two side by side, with their names above; a block's size in inches."""
    figure, axes = panels(2, -(-len(blocks) // 2), width=width, height=height)
    for axis, (text, images) in zip(axes.flat, blocks.items(), strict=False):
        pictures(axis, images)
        axis.set_title(text)
    return figure


def paths(axes: Axes, t: Sequence[float], x: np.ndarray, colours: Iterable | Mapping | str) -> None:
    """Paths of a scalar state against time: ``x`` is (time, batch); one colour a path, or one for all."""
    colours = [colours] * x.shape[1] if isinstance(colours, str) else list(colours)
    for path, colour in zip(np.asarray(x).T, colours, strict=True):
        axes.plot(t, path, color=colour, linewidth=1.0)
