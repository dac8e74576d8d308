"""Plots as inline SVG whose colours the page decides, for light and dark.

Matplotlib draws with colours that stand for the page's variables; they are
exchanged in the SVG's text.
"""

import base64
import io
import re

import markupsafe
import matplotlib.image
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.offsetbox import OffsetImage

_NUM_SERIES = 10
_TEXT, _GRID, _HALO = "#010203", "#010204", "#010205"
_SERIES = [f"#0102{10 + number}" for number in range(_NUM_SERIES)]
_COLORS = {
    _TEXT: "var(--plot-text)",
    _GRID: "var(--plot-grid)",
    # A label on top of dots keeps clear of them.
    _HALO: "var(--text); stroke: var(--page); stroke-width: 4px; "
    "stroke-linejoin: round; paint-order: stroke",
    **{c: f"var(--series-{n})" for n, c in enumerate(_SERIES)},
}
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _GRID,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _GRID,
    "xtick.labelcolor": _TEXT,
    "ytick.color": _GRID,
    "ytick.labelcolor": _TEXT,
    "ytick.major.size": 0,
    "axes.axisbelow": True,
}
_CURVE_SIZE = 5.0, 2.9
_MAP_SIZE = 5.6, 4.4
_MAP_PICTURE_SIDE = 20.0
# Of the map's longer side: none covers another one.
_MAP_PICTURES_APART = 0.07


def curves(series, *, label, level=None, percent=False):
    """Lines over training steps, as SVG.

    Args:
        series: list of (steps, values), in the colours `--series-0` to 9 of
            the page, which has the legend.
        label: str, that the picture has for those who do not see it.
        level: value of a dotted line across, or None.
        percent: whether values are shares, to be shown as percent.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": label}):
        figure = Figure(figsize=_CURVE_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for number, (steps, values) in enumerate(series):
            axes.plot(
                steps,
                values,
                color=_SERIES[number % _NUM_SERIES],
                linewidth=1.8,
                # A line of one point would not be seen.
                marker="o" if len(steps) == 1 else "",
            )
        if level is not None:
            axes.axhline(level, color=_TEXT, linestyle=":", linewidth=1.4)
        ticker = matplotlib.ticker
        if percent:
            axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.margins(x=0.02)
        axes.set_xlabel("step")
        return _svg(figure, label)


def map_of(points, *, label, labels=None, names=None, pictures=None):
    """Embeddings in the plane, as SVG.

    Args:
        points: [n, 2] float.
        label: str, that the picture has for those who do not see it.
        labels: [n] int class indices: dots in the colours of their classes.
        names: names of the classes, written where most of their dots are.
        pictures: ([m] int, which of the n, and [m, h, w, 3] uint8), shown
            instead of dots where there are no labels.
    """
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": label}):
        figure = Figure(figsize=_MAP_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        if labels is None:
            axes.scatter(*points.T, s=9, c=_SERIES[0], linewidths=0)
            _show_pictures(axes, points, *pictures)
        else:
            _show_classes(axes, points, labels, names)
        return _svg(figure, label)


def picture(image):
    """[h, w, 3] uint8 as the address of an inline PNG."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, image, format="png")
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/png;base64,{encoded}"


def _show_classes(axes, points, labels, names):
    for label in np.unique(labels):
        members = points[labels == label]
        color = _SERIES[label % _NUM_SERIES]
        axes.scatter(*members.T, s=13, c=color, alpha=0.75, linewidths=0)
    if names is None:
        return
    for label in np.unique(labels):
        place = _densest(points[labels == label])
        axes.text(
            *place,
            names[label],
            color=_HALO,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            # A name is no formula.
            parse_math=False,
        )


def _densest(points):
    """The point of the smallest median distance to the others."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return points[np.median(distances, axis=1).argmin()]


def _show_pictures(axes, points, places, pictures):
    apart = _MAP_PICTURES_APART * np.ptp(points, axis=0).max()
    shown = []
    for place, image in zip(places, pictures, strict=True):
        distances = np.abs(points[place] - points[shown]).max(axis=1)
        if (distances < apart).any():
            continue
        shown.append(place)
        zoom = _MAP_PICTURE_SIDE / max(image.shape[:2])
        axes.add_artist(
            AnnotationBbox(
                OffsetImage(image, zoom=zoom, interpolation="nearest"),
                points[place],
                frameon=False,
                pad=0,
            )
        )


def _svg(figure, label):
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Type": None, "Format": None},
    )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # The style would be that of the whole page.
    for element in ("metadata", "style"):
        svg = re.sub(f"<{element}.*?</{element}>", "", svg, flags=re.DOTALL)
    # Several plots are on one page, where an id may be there once; those that
    # are referred to have a hash of the plot's label.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for color, variable in _COLORS.items():
        svg = svg.replace(color, variable)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    label = markupsafe.escape(label)
    return markupsafe.Markup(
        f'{opening} role="img" aria-label="{label}">{rest}'
    )
