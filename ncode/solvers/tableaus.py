"""Runge-Kutta methods as data: nodes, weights, error estimates, and the polynomials that give the path between steps.

A method takes x(t) = x over a step h by stages k_i = f(t + c_i h, x + h Σ_j a_ij k_j), to y = x + h Σ_i b_i k_i. The
embedded solution of another order differs from y by h Σ_i e_i k_i, which estimates the step's error. Between the step's
ends, x(t + sh) = x + h Σ_i w_i(s) k_i with polynomials w_i.

Sources: Bogacki and Shampine (1989), Dormand and Prince (1980), Shampine (1986) for Dormand and Prince's polynomials,
Prince and Dormand (1981), Fehlberg (1969), Tsitouras (2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """One explicit Runge-Kutta method.

    Attributes:
        name: what :class:`ncode.solvers.options.Solver` calls it.
        order: p, y's order: a step's error is O(h^(p+1)).
        c: every stage's node; the first is 0.
        a: every stage's weights of the stages before it.
        b: the weights of y.
        error: e, y's weights less those of the embedded solution; empty where there is none, and steps are fixed.
        dense: for every stage the coefficients of s, s², … in w_i(s); empty where the cubic through both ends'
            states and slopes is all there is.
        dense_order: the order of the path between the ends.
    """

    name: str
    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    error: Row = ()
    dense: tuple[Row, ...] = ()
    dense_order: int = 3

    @property
    def stages(self) -> int:
        return len(self.c)

    @property
    def adaptive(self) -> bool:
        return bool(self.error)

    @property
    def fsal(self) -> bool:
        """First same as last: the last stage is evaluated at (t + h, y), and is the next step's first."""
        return self.b[-1] == 0 and self.a[-1] == self.b[:-1] and self.c[-1] == 1

    @property
    def interpolates(self) -> bool:
        """Whether the path between a step's ends is about as good as the step, at no further evaluation."""
        return self.fsal and self.dense_order >= self.order - 1


def quartic(b: Sequence[float], mid: Sequence[float]) -> tuple[Row, ...]:
    """``dense`` of the quartic through both ends' states and slopes and through x + h Σ mid_i k_i halfway.

    For a method whose last stage is the slope at the step's end.
    """
    last = len(b) - 1
    rows = []
    for i, (end, middle) in enumerate(zip(b, mid, strict=True)):
        first, final = float(i == 0), float(i == last)
        rows.append(
            (
                first,
                final - 4 * first - 5 * end + 16 * middle,
                5 * first - 3 * final + 14 * end - 32 * middle,
                2 * (final - first) - 8 * end + 16 * middle,
            )
        )
    return tuple(rows)


def hermite(b: Sequence[float]) -> tuple[Row, ...]:
    """``dense`` of the cubic through both ends' states and slopes, for a method whose last stage is the end's slope."""
    last = len(b) - 1
    return tuple(
        (float(i == 0), 3 * end - 2 * (i == 0) - (i == last), (i == 0) + (i == last) - 2 * end)
        for i, end in enumerate(b)
    )


def _difference(b: Sequence[float], embedded: Sequence[float]) -> Row:
    return tuple(x - y for x, y in zip(b, embedded, strict=True))


EULER = Tableau("euler", 1, (0.0,), ((),), (1.0,))
MIDPOINT = Tableau("midpoint", 2, (0.0, 0.5), ((), (0.5,)), (0.0, 1.0))
HEUN = Tableau("heun", 2, (0.0, 1.0), ((), (1.0,)), (0.5, 0.5))
HEUN3 = Tableau("heun3", 3, (0.0, 1 / 3, 2 / 3), ((), (1 / 3,), (0.0, 2 / 3)), (0.25, 0.0, 0.75))
# The 3/8 rule, as torchdiffeq has it.
RK4 = Tableau(
    "rk4",
    4,
    (0.0, 1 / 3, 2 / 3, 1.0),
    ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
ADAPTIVE_HEUN = Tableau("adaptive_heun", 2, (0.0, 1.0), ((), (1.0,)), (0.5, 0.5), error=(0.5, -0.5))
FEHLBERG2 = Tableau(
    "fehlberg2",
    2,
    (0.0, 0.5, 1.0),
    ((), (0.5,), (1 / 256, 255 / 256)),
    (1 / 512, 255 / 256, 1 / 512),
    error=(-1 / 512, 0.0, 1 / 512),
)

_BS_B = (2 / 9, 1 / 3, 4 / 9, 0.0)
BOSH3 = Tableau(
    "bosh3",
    3,
    (0.0, 0.5, 0.75, 1.0),
    ((), (0.5,), (0.0, 0.75), _BS_B[:-1]),
    _BS_B,
    error=_difference(_BS_B, (7 / 24, 1 / 4, 1 / 3, 1 / 8)),
    dense=hermite(_BS_B),
)

_DP_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
DOPRI5 = Tableau(
    "dopri5",
    5,
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DP_B[:-1],
    ),
    _DP_B,
    # Shampine's embedded solution, as torchdiffeq has it.
    error=_difference(_DP_B, (1951 / 21600, 0.0, 22642 / 50085, 451 / 720, -12231 / 42400, 649 / 6300, 1 / 60)),
    dense=quartic(
        _DP_B,
        (
            6025192743 / 30085553152 / 2,
            0.0,
            51252292925 / 65400821598 / 2,
            -2691868925 / 45128329728 / 2,
            187940372067 / 1594534317056 / 2,
            -1776094331 / 19743644256 / 2,
            11237099 / 235043384 / 2,
        ),
    ),
    dense_order=4,
)

_TS_B = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
    0.0,
)
TSIT5 = Tableau(
    "tsit5",
    5,
    (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        _TS_B[:-1],
    ),
    _TS_B,
    error=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
    dense=(
        (0.9999999999999999, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
        (0.0, 0.13169999999999998, -0.2234, 0.1017),
        (0.0, 3.930296236894751, -5.941033872131505, 2.490627285651253),
        (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
        (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
        (0.0, -27.896526289197286, 65.09189467479368, -34.87065786149661),
        (0.0, 1.5, -4.0, 2.5),
    ),
    dense_order=4,
)

_D8_B = (
    14005451 / 335480064, 0.0, 0.0, 0.0, 0.0, -59238493 / 1068277825, 181606767 / 758867731, 561292985 / 797845732,
    -1041891430 / 1371343529, 760417239 / 1151165299, 118820643 / 751138087, -528747749 / 2220607170, 1 / 4, 0.0,
)  # fmt: skip
DOPRI8 = Tableau(
    "dopri8",
    8,
    (
        0.0, 1 / 18, 1 / 12, 1 / 8, 5 / 16, 3 / 8, 59 / 400, 93 / 200, 5490023248 / 9719169821, 13 / 20,
        1201146811 / 1299019798, 1.0, 1.0, 1.0,
    ),
    (
        (),
        (1 / 18,),
        (1 / 48, 1 / 16),
        (1 / 32, 0.0, 3 / 32),
        (5 / 16, 0.0, -75 / 64, 75 / 64),
        (3 / 80, 0.0, 0.0, 3 / 16, 3 / 20),
        (
            29443841 / 614563906, 0.0, 0.0, 77736538 / 692538347, -28693883 / 1125000000, 23124283 / 1800000000,
        ),
        (
            16016141 / 946692911, 0.0, 0.0, 61564180 / 158732637, 22789713 / 633445777, 545815736 / 2771057229,
            -180193667 / 1043307555,
        ),
        (
            39632708 / 573591083, 0.0, 0.0, -433636366 / 683701615, -421739975 / 2616292301, 100302831 / 723423059,
            790204164 / 839813087, 800635310 / 3783071287,
        ),
        (
            246121993 / 1340847787, 0.0, 0.0, -37695042795 / 15268766246, -309121744 / 1061227803,
            -12992083 / 490766935, 6005943493 / 2108947869, 393006217 / 1396673457, 123872331 / 1001029789,
        ),
        (
            -1028468189 / 846180014, 0.0, 0.0, 8478235783 / 508512852, 1311729495 / 1432422823,
            -10304129995 / 1701304382, -48777925059 / 3047939560, 15336726248 / 1032824649,
            -45442868181 / 3398467696, 3065993473 / 597172653,
        ),
        (
            185892177 / 718116043, 0.0, 0.0, -3185094517 / 667107341, -477755414 / 1098053517,
            -703635378 / 230739211, 5731566787 / 1027545527, 5232866602 / 850066563, -4093664535 / 808688257,
            3962137247 / 1805957418, 65686358 / 487910083,
        ),
        (
            403863854 / 491063109, 0.0, 0.0, -5068492393 / 434740067, -411421997 / 543043805, 652783627 / 914296604,
            11173962825 / 925320556, -13158990841 / 6184727034, 3936647629 / 1978049680, -160528059 / 685178525,
            248638103 / 1413531060, 0.0,
        ),
        _D8_B[:-1],
    ),
    _D8_B,
    error=_difference(
        _D8_B,
        (
            13451932 / 455176623, 0.0, 0.0, 0.0, 0.0, -808719846 / 976000145, 1757004468 / 5645159321,
            656045339 / 265891186, -3867574721 / 1518517206, 465885868 / 322736535, 53011238 / 667516719, 2 / 45,
            0.0, 0.0,
        ),
    ),
)  # fmt: skip

TABLEAUS = {
    method.name: method
    for method in (EULER, MIDPOINT, HEUN, HEUN3, RK4, ADAPTIVE_HEUN, FEHLBERG2, BOSH3, DOPRI5, TSIT5, DOPRI8)
}
"""Every explicit method by its name."""
