"""What a homeomorphism keeps, measured: the order of points on a line, and what surrounds what.

A flow of R^d is continuous, injective and homotopic to the identity. So it keeps the order of points in one dimension,
and the number of times that the image of a sphere surrounds the image of a point in any: once, if the sphere surrounds
the point. Then no half-space holds the image of the point and none of the sphere's, which is why a neural ODE cannot
separate nested spheres (Dupont et al. 2019, Propositions 1 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from ncode.arguments import arguments, function, instance, integer, real, tensor

LARGEST = 1 << 24
"""Points that a curve is cut into, or a sphere is searched with, at most."""

Map = Callable[[Float[Tensor, "n d"]], Tensor]

# The golden ratio: an icosahedron's corners are the cyclic permutations of (0, ±1, ±φ).
_GOLDEN = (1 + math.sqrt(5)) / 2


@arguments(x=tensor(None, None, least=1, finite=False))
def overtakings(x: Float[Tensor, "time n"]) -> int:
    """How many pairs of neighbours on the line ever lose their order.

    Args:
        x: paths of n points, increasing at the first time.

    Raises:
        ValueError: when they are not increasing at the first time.
    """
    gaps = x.diff(dim=1)
    if not (gaps[0] > 0).all():
        raise ValueError("x: must be strictly increasing at the first time")
    # Not a number is no order.
    return int((~(gaps > 0)).any(0).sum())


@arguments(curve=tensor(None, 2, least=1), point=tensor(2))
def winding_number(curve: Float[Tensor, "n 2"], point: Float[Tensor, " 2"]) -> int:
    """How often the closed polygon ``curve`` goes around ``point``, anticlockwise.

    Raises:
        ValueError: when the polygon goes through the point.
    """
    return round(float(_angles(curve - point).sum()) / (2 * math.pi))


@arguments(
    f=function,
    curve=function,
    point=tensor(2),
    start=integer(1, LARGEST),
    largest=real(above=0, most=math.pi),
    rounds=integer(0),
)
def image_winding_number(
    f: Map,
    curve: Callable[[Float[Tensor, " n"]], Float[Tensor, "n 2"]],
    point: Float[Tensor, " 2"],
    *,
    start: int = 4096,
    largest: float = math.pi / 4,
    rounds: int = 30,
) -> int:
    """How often the image under ``f`` of a closed curve goes around ``point``.

    A flow may stretch a short piece of the curve over any length, so pieces are halved until the direction from the
    point turns by less than ``largest`` over each. An excursion that begins and ends within one of the first pieces
    goes unseen: ``start`` must be large enough for that not to happen.

    Args:
        f: a map of the plane.
        curve: from parameters in [0, 1] to the points of the curve, with curve(0) = curve(1).
        start: how many pieces to begin with.
        rounds: how often pieces are halved at most.

    Raises:
        ValueError: when the last round still leaves a larger turn, it takes more than :data:`LARGEST` pieces, or the
            image is not finite.
    """
    s = torch.arange(start, dtype=torch.float64) / start
    found = curve(s)
    tensor(start, 2)("curve", found)
    image = f(found)
    tensor(start, 2)("f", image)
    for _ in range(rounds):
        turns = _angles(image - point)
        wide = turns.abs() >= largest
        if not wide.any():
            return round(float(turns.sum()) / (2 * math.pi))
        if len(s) + int(wide.sum()) > LARGEST:
            break
        middle = ((s + torch.cat([s[1:], s.new_ones(1)])) / 2)[wide]
        s, order = torch.cat([s, middle]).sort()
        image = torch.cat([image, f(curve(middle))])[order]
    raise ValueError(
        f"curve: its image turns by more than {largest:.2g} over one of {len(s)} pieces, after at most "
        f"rounds = {rounds} halvings"
    )


def _angles(v: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """The signed angle from each vector to the next, cyclically."""
    if not torch.isfinite(v).all():
        raise ValueError("f, curve: give points that are not finite")
    if (v.norm(dim=1) == 0).any():
        raise ValueError("curve: goes through the point")
    w = v.roll(-1, 0)
    cross = v[:, 0] * w[:, 1] - v[:, 1] * w[:, 0]
    return torch.atan2(cross, (v * w).sum(1))


@arguments(level=integer(0, 9))
def icosphere(level: int = 3) -> tuple[Float[Tensor, "n 3"], Int64[Tensor, "m 3"]]:
    """The unit sphere as a mesh: an icosahedron whose triangles are cut into four ``level`` times.

    Returns:
        corners, in double precision, and triangles, anticlockwise seen from outside.
    """
    corners = [(0.0, a, b * _GOLDEN) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    points = torch.tensor([p[k:] + p[:k] for k in range(3) for p in corners], dtype=torch.float64)
    near = torch.cdist(points, points) < 2.1
    triples = torch.combinations(torch.arange(12), 3)
    a, b, c = triples.T
    faces = triples[near[a, b] & near[b, c] & near[a, c]]
    outward = torch.linalg.det(points[faces]) > 0
    faces = torch.where(outward[:, None], faces, faces.flip(1))
    for _ in range(level):
        points, faces = _cut(points, faces)
    return F.normalize(points, dim=1), faces


def _cut(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, which = edges.sort(1).values.unique(dim=0, return_inverse=True)
    ab, bc, ca = (which + len(points)).reshape(3, -1)
    middles = F.normalize(points[edges].mean(1), dim=1)
    points = torch.cat([F.normalize(points, dim=1), middles])
    a, b, c = faces.T
    cut = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return points, torch.cat([torch.stack(corners, 1) for corners in cut])


@arguments(points=tensor(None, 3, least=1), faces=instance(Tensor), point=tensor(3))
def degree(points: Float[Tensor, "n 3"], faces: Int64[Tensor, "m 3"], point: Float[Tensor, " 3"]) -> int:
    """How often a closed surface of triangles surrounds ``point``: the sum of their solid angles over 4π.

    Each triangle's solid angle by van Oosterom and Strackee (1983). Where the corners are images of a mesh's under a
    map, what the map does between them goes unseen.

    Raises:
        ValueError: when a corner lies in the point.
    """
    if faces.dtype != torch.int64 or faces.dim() != 2 or faces.shape[1] != 3 or len(faces) == 0:
        raise ValueError(f"faces: must be int64 of shape (m, 3), not {faces.dtype} of {tuple(faces.shape)}")
    if not 0 <= int(faces.min()) <= int(faces.max()) < len(points):
        raise ValueError(f"faces: must be indices of the {len(points)} points")
    a, b, c = (points[faces[:, k]] - point for k in range(3))
    la, lb, lc = a.norm(dim=1), b.norm(dim=1), c.norm(dim=1)
    if min(la.min(), lb.min(), lc.min()) == 0:
        raise ValueError("points: the surface goes through the point")
    volume = (a * torch.linalg.cross(b, c)).sum(1)
    rest = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return round(float(2 * torch.atan2(volume, rest).sum()) / (4 * math.pi))


@arguments(
    h=function,
    dim=integer(1),
    radius=real(above=0),
    points=integer(8, LARGEST),
    rounds=integer(0, 1000),
    seed=integer(),
)
def lowest_on_sphere(
    h: Callable[[Float[Tensor, "n d"]], Float[Tensor, " n"]],
    dim: int,
    radius: float,
    *,
    points: int = 1024,
    rounds: int = 16,
    seed: int = 0,
) -> tuple[float, Float[Tensor, " d"]]:
    """The lowest value of ``h`` on the sphere around 0, as far as a search finds it, and where.

    Random points, then ever closer ones around the best. What it finds is a value that h takes: an upper bound of
    the minimum, and proof that h gets so low.

    Args:
        rounds: each looks at ``points`` / 8 points, half as far from the best as the round before.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int, centre: Tensor | float = 0.0, spread: float = 1.0) -> Tensor:
        noise = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        return radius * F.normalize(centre + spread * noise, dim=1)

    ends = radius * torch.cat([torch.eye(dim), -torch.eye(dim)]).double()
    x = torch.cat([ends, draw(points)])
    spread = 1.0 / points ** (1 / max(1, dim - 1))
    for _ in range(rounds):
        values = h(x)
        tensor(len(x))("h", values)
        best = x[values.argmin()]
        x = torch.cat([best[None], draw(points // 8, best / radius, spread)])
        spread /= 2
    values = h(x)
    tensor(len(x))("h", values)
    return float(values.min()), x[values.argmin()]
