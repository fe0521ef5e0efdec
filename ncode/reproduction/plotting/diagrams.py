"""Block diagrams of the control loops (Fig. 2 of the paper): boxes for functions, arrows for signals."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

Point = tuple[float, float]

FORWARD, BACKWARD = "#C1272D", "#0072B2"
"""Fig. 2's colours of what runs forward and of what runs backward in time."""


def box(axes: Axes, centre: Point, text: str, colour: str = "white", width: float = 1.0) -> None:
    """A function: a rounded box of height 0.7 with ``text`` in it."""
    style = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "facecolor": colour, "edgecolor": "black"}
    x, y = centre
    axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.35), width, 0.7, **style))
    axes.text(x, y, text, ha="center", va="center")


def arrow(axes: Axes, *points: Point, text: str = "", at: Point | None = None, colour: str = "black") -> None:
    """A signal along ``points``, with a head at the last and ``text`` at ``at``."""
    axes.plot(*zip(*points[:-1], strict=True), color=colour, linewidth=1.2)
    head = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", points[-1], points[-2], arrowprops=head)
    if text:
        axes.text(*(at or points[0]), text, ha="center", va="bottom", color="black" if colour == "black" else colour)


def loop(axes: Axes, closed: bool, colour: str) -> None:
    """The N-CODE module of Eq. 4, with an open or a closed loop; controllers in ``colour``.

    Red arrows run forward in time: the coupled system. Blue arrows run backward: the adjoint, from the loss at x(T) to
    everything that has parameters.
    """
    axes.set(xlim=(-0.5, 7.2), ylim=(-1.75, 2.85), aspect="equal")
    axes.axis("off")
    axes.text(-0.15, 0, "$x(0)$", ha="center", va="center")
    arrow(axes, (0.2, 0), (1.88, 0))
    box(axes, (2.4, 0), "$f(x, θ)$", width=1.0)
    arrow(axes, (2.92, 0), (3.88, 0), text="$x'$", at=(3.4, 0.03), colour=FORWARD)
    box(axes, (4.3, 0), r"$\int dt$", width=0.8)
    arrow(axes, (4.72, 0), (6.15, 0))
    axes.text(6.5, 0, "$x(T)$", ha="center", va="center")
    # The state feeds back into its own field: what makes it an ODE.
    arrow(axes, (5.2, 0), (5.2, -0.7), (2.2, -0.7), (2.2, -0.37), text="$x(t)$", at=(3.8, -0.7), colour=FORWARD)
    arrow(axes, (0.7, 0), (0.7, 1.8), (1.08, 1.8))
    box(axes, (1.55, 1.8), "γ", colour, width=0.9)
    _adjoint(axes, closed)
    if not closed:
        arrow(axes, (2.02, 1.8), (2.4, 1.8), (2.4, 0.38), text="$θ$", at=(2.65, 0.95))
        return
    arrow(axes, (2.02, 1.8), (2.4, 1.8), (2.4, 0.38), text="$θ(t)$", at=(2.8, 0.75), colour=FORWARD)
    arrow(axes, (3.48, 1.8), (2.4, 1.8), colour=FORWARD)
    box(axes, (3.9, 1.8), r"$\int dt$", width=0.8)
    arrow(axes, (4.93, 1.8), (4.32, 1.8), text="$θ'$", at=(4.65, 1.83), colour=FORWARD)
    box(axes, (5.6, 1.8), "$g(θ, x, t)$", colour, width=1.3)
    arrow(axes, (5.6, 0), (5.6, 1.42), colour=FORWARD)
    arrow(axes, (3.0, 1.8), (3.0, 2.6), (5.6, 2.6), (5.6, 2.18), colour=FORWARD)


def _adjoint(axes: Axes, closed: bool) -> None:
    """From x(T) backward in time to f, to γ and, in a closed loop, to g."""
    back = -1.3
    arrow(axes, (6.5, -0.25), (6.5, back), (2.6, back), (2.6, -0.38), colour=BACKWARD)
    arrow(axes, (2.6, back), (0.35, back), (0.35, 2.5), (1.55, 2.5), (1.55, 2.18), colour=BACKWARD)
    axes.text(4.55, back - 0.05, "adjoint $a(t)$, backward in time", ha="center", va="top", color=BACKWARD, fontsize=9)
    if closed:
        arrow(axes, (6.85, 0.25), (6.85, 1.8), (6.27, 1.8), colour=BACKWARD)


def autoencoder(axes: Axes, colour: str) -> None:
    """AutoN-CODE (Fig. 7): the encoder sets the coupling of a linear flow, whose end is decoded."""
    axes.set(xlim=(-0.6, 9.6), ylim=(-1.2, 2.4), aspect="equal")
    axes.axis("off")
    axes.text(-0.1, 1.6, "image", ha="center", va="center")
    arrow(axes, (0.4, 1.6), (1.08, 1.6))
    box(axes, (1.8, 1.6), "encoder", colour, width=1.4)
    arrow(axes, (2.52, 1.6), (3.28, 1.6), text="code", at=(2.9, 1.65))
    box(axes, (4.1, 1.6), "normalise", width=1.6)
    arrow(axes, (4.1, 1.23), (4.1, 0.38), text="$θ$", at=(4.3, 0.65))
    axes.text(2.3, 0, r"$x(0)$, shared", ha="center", va="center")
    arrow(axes, (3.0, 0), (3.38, 0))
    box(axes, (4.1, 0), "$x' = θx$", width=1.4)
    arrow(axes, (4.82, 0), (6.58, 0), text="$x(T) = e^{Tθ}x(0)$", at=(5.7, 0.08))
    box(axes, (7.3, 0), "decoder", colour, width=1.4)
    arrow(axes, (8.02, 0), (8.5, 0))
    axes.text(9.05, 0, "image", ha="center", va="center")
    axes.text(5.7, -0.8, "the latent: what is clustered, sampled and interpolated", ha="center", va="center")
