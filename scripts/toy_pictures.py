"""What each strategy picks from one small pool in the plane, as SVG.

The pool is the same for all: a large and a middling class that overlap, a rare one, a cloud of items that are of no
interest, and an outlier. Eight items are labeled and five were rejected. The model is fixed, not fitted: a linear head
whose classes meet half-way between the centres, so the pictures do not depend on a solver.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

import poolwise as pw
from poolwise.chance import rng_for
from poolwise.kernels.blocks import softmax_in_place
from poolwise.kernels.deviations import SampledMovements, draw_noise
from poolwise.registry import StrategySpec
from poolwise.report.charts.svg import element

BATCH = 8
FOREIGN = 3
"""Number of the cloud that is of no interest; classes are 0 to 2."""
CENTRES = np.array([[2.5, 4.0], [5.3, 4.4], [4.6, 1.1], [8.5, 2.3]])
SPREADS = np.array([[0.85, 0.85], [0.75, 0.65], [0.32, 0.26], [0.5, 0.5]])
SIZES = (88, 46, 12, 34)
LABELED = (4, 3, 1)
REJECTED = 5
OUTLIER = (9.35, 5.75)
WIDTH, HEIGHT = 10.0, 6.4
PX = 46.0
ZETA = 1e-3
"""Size of the noise that movements are measured with, relative to the weights."""
SHARPNESS = 1.6
"""Logits are this times minus half the squared distance to the centre of a class."""
DISTANCE = 3.0
"""The plane lies so far above the origin, so that scaling rows to unit length bends it and does not fold it."""
DISC = 8.0
GAP = 2 * DISC + 1.5

STYLE = """
.paper{fill:#fff}.ink{fill:#16191d}.n{fill:#fff}.line{stroke:#16191d}.rule{stroke:#565f6a}
.c0{stroke:#0067a8}.c1{stroke:#c44a00}.c2{stroke:#00795a}.c3{stroke:#8b949e}
@media (prefers-color-scheme:dark){
.paper{fill:#14171b}.ink{fill:#e9edf1}.n{fill:#14171b}.line{stroke:#e9edf1}.rule{stroke:#a3adb8}
.c0{stroke:#62b4f5}.c1{stroke:#ff9151}.c2{stroke:#3fd1a3}.c3{stroke:#7b8590}}
text{font:600 10.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;text-anchor:middle}
path{fill:none;stroke-linecap:round}.free{stroke-width:5.5;opacity:.6}.known{stroke-width:2}.rejected{stroke-width:2}
.cut{stroke-width:1.2;stroke-dasharray:5 4}.lead{stroke-width:1}.spot{stroke-width:6}"""

LEGEND = (
    "Dots are unlabeled items, coloured by classes that no strategy sees: two large ones that overlap, a rare one, and "
    'in grey items of no interest. Squares are labeled, crosses were answered "not of interest", dashes show where the '
    "model cannot decide between two classes. Numbers are the eight picks, in order, with default options."
)


@dataclass(frozen=True, slots=True)
class Toy:
    """The pool: (N, 2) places, (N,) true group, and what is known: labeled and rejected pool indices, sorted."""

    places: NDArray[np.float64]
    group: NDArray[np.int64]
    labeled: NDArray[np.int64]
    rejected: NDArray[np.int64]


def toy_pool() -> Toy:
    """Draw the pool, the same every time."""
    rng = rng_for(0, "toy pool")
    parts = [c + s * rng.normal(size=(n, 2)) for c, s, n in zip(CENTRES, SPREADS, SIZES, strict=True)]
    places = np.round(np.concatenate([*parts, [OUTLIER]]), 2)
    places = np.clip(places, 0.25, [WIDTH - 0.25, HEIGHT - 0.25])
    group = np.concatenate([np.repeat(np.arange(4), SIZES), [1]])
    starts = np.concatenate([[0], np.cumsum(SIZES)])
    labeled = np.concatenate([starts[c] + np.arange(n) for c, n in enumerate(LABELED)])
    return Toy(places, group, labeled, starts[FOREIGN] + np.arange(REJECTED))


def picks_of(spec: StrategySpec, toy: Toy) -> NDArray[np.int64]:
    """(B,) pool indices that a strategy picks, with default options and seed 0."""
    centred = toy.places - [WIDTH / 2, HEIGHT / 2]
    centres = CENTRES[:FOREIGN] - [WIDTH / 2, HEIGHT / 2]
    weight = np.column_stack([SHARPNESS * centres, np.zeros(FOREIGN)])
    arrays = {
        "embeddings": np.column_stack([centred, np.full(len(centred), DISTANCE)]).astype(np.float32),
        "head_weight": weight.astype(np.float32),
        "head_bias": (-SHARPNESS / 2 * (centres**2).sum(axis=1)).astype(np.float32),
    }
    if spec.oracle:
        arrays["oracle_labels"] = toy.group
    if "noise_deviations" in spec.needs:
        arrays["noise_deviations"] = _movements(arrays)
    known = {"labeled": toy.labeled, "labels": toy.group[toy.labeled], "foreign": toy.rejected}
    return pw.select(spec.name, batch_size=BATCH, seed=0, **arrays, **known).indices


def _movements(arrays: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    """(N, K, C) movements of the fixed model's probabilities under K = 30 changes of its weights."""
    h = arrays["embeddings"].astype(np.float64)
    probs = softmax_in_place(h @ arrays["head_weight"].T.astype(np.float64) + arrays["head_bias"])
    noise = draw_noise(arrays["head_weight"], ZETA, 30, rng_for(0, "toy noise"))
    measured = SampledMovements(h, probs, np.arange(len(h)), noise)
    return measured.movements(h, probs) * (np.sqrt(len(noise)) / ZETA)


def draw(toy: Toy, picks: NDArray[np.int64], name: str) -> Markup:
    """The pool with numbered picks, as one SVG file."""
    at = np.column_stack([toy.places[:, 0], HEIGHT - toy.places[:, 1]]) * PX
    free = np.ones(len(at), dtype=bool)
    free[np.concatenate([toy.labeled, toy.rejected])] = False
    marks = [
        element("title", f"What {name} picks"),
        element("desc", LEGEND),
        element("style", Markup(STYLE)),
        element("rect", class_="paper", width=WIDTH * PX, height=HEIGHT * PX),
        element("path", class_="cut rule", d=_borders()),
    ]
    for g in range(4):
        marks.append(element("path", class_=f"free c{g}", d=_dots(at[free & (toy.group == g)])))
    for g in range(FOREIGN):
        marks.append(element("path", class_=f"known c{g}", d=_squares(at[toy.labeled[toy.group[toy.labeled] == g]])))
    marks.append(element("path", class_="rejected c3", d=_crosses(at[toy.rejected])))
    spots, discs = at[picks], apart(at[picks])
    leads = "".join(f"M{_xy(a)}L{_xy(b)}" for a, b in zip(spots, discs, strict=True) if np.hypot(*(a - b)) > 1)
    marks += [
        element("path", class_="lead line", d=leads) if leads else Markup(""),
        element("path", class_="spot line", d=_dots(spots)),
    ]
    for number, (x, y) in enumerate(discs, start=1):
        marks.append(element("circle", class_="ink", cx=x, cy=y, r=DISC))
        marks.append(element("text", str(number), class_="n", x=x, y=y + 3.7))
    return element(
        "svg",
        *marks,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH * PX:.0f} {HEIGHT * PX:.0f}",
        width=WIDTH * PX,
        height=HEIGHT * PX,
        role="img",
    )


def apart(spots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move discs from their items until none covers another, and none leaves the picture."""
    discs = spots + [0.0, -1e-3] * np.arange(len(spots))[:, None]  # no two in one place
    limits = np.array([WIDTH * PX, HEIGHT * PX]) - DISC - 1
    for _ in range(300):
        gap = discs[:, None] - discs[None]  # (B, B, 2)
        far = np.hypot(gap[..., 0], gap[..., 1])
        np.fill_diagonal(far, np.inf)
        push = np.maximum(GAP - far, 0)[..., None] * gap / np.maximum(far, 1e-6)[..., None] / 2
        if not push.any():
            break
        discs = np.clip(discs + push.sum(axis=1), DISC + 1, limits)
    return np.round(discs, 1)


def _borders() -> str:
    """Segments where the two most probable classes are equally probable."""
    pieces = []
    corners = np.array([[0.0, 0.0], [WIDTH, HEIGHT]])
    for a in range(FOREIGN):
        for b in range(a + 1, FOREIGN):
            (other,) = {0, 1, 2} - {a, b}
            middle, along = (CENTRES[a] + CENTRES[b]) / 2, (CENTRES[b] - CENTRES[a])[::-1] * [-1, 1]
            steps = np.linspace(-10, 10, 4001)
            line = middle + steps[:, None] * along / np.hypot(*along)
            inside = ((line >= corners[0]) & (line <= corners[1])).all(axis=1)
            nearer = ((line - CENTRES[a]) ** 2).sum(axis=1) <= ((line - CENTRES[other]) ** 2).sum(axis=1)
            here = line[inside & nearer]
            if len(here):
                ends = np.column_stack([here[[0, -1], 0], HEIGHT - here[[0, -1], 1]]) * PX
                pieces.append(f"M{_xy(ends[0])}L{_xy(ends[1])}")
    return "".join(pieces)


def _xy(point: NDArray[np.float64]) -> str:
    return f"{point[0]:.0f} {point[1]:.0f}"


def _dots(points: NDArray[np.float64]) -> str:
    return "".join(f"M{_xy(p)}h0" for p in points)


def _squares(points: NDArray[np.float64]) -> str:
    return "".join(f"M{_xy(p - 4)}h8v8h-8z" for p in points)


def _crosses(points: NDArray[np.float64]) -> str:
    return "".join(f"M{_xy(p - 4)}l8 8m0 -8l-8 8" for p in points)
