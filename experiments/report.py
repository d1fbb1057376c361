"""Reports of experiments, in one place: OUT/NAME.json, NAME.md and NAME.png, and figures that survive a stop.

Every report says where it was measured: machine, versions, commit, digest of the sources, seed, load of the machine.
"""

import argparse
import io
import json
import os
from contextlib import contextmanager
from pathlib import Path

from common import environment, write_bytes, write_json

BLUE, AMBER, RED, GREEN, GREY = "#31446b", "#d9a441", "#c02942", "#7a9e7e", "#999999"  # of plots


def seconds_text(value) -> str:
    return "-" if value is None else f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def bytes_text(value) -> str:
    if value is None:
        return "-"
    if value < 1000:
        return f"{value:.0f} B"
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB" if value >= 1e7 else f"{value / 1e3:.1f} kB"


class Record:
    """OUT/NAME.json: environment, seed, settings, and figures by key, written as soon as they are measured.

    What the file holds already is not measured again, unless anything but the figures differs: so an experiment that was
    stopped goes on, and figures of other code, machines or settings never mix.
    """

    def __init__(self, out: Path, name: str, *, seed: int, settings: dict, fresh: bool = False):
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.name, self.path = out, name, out / f"{name}.json"
        self.data = {"environment": environment(), "seed": seed, "settings": settings, "figures": {}}
        if self.path.exists() and not fresh:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if all(found.get(part) == self.data[part] for part in ("environment", "seed", "settings")):
                self.data = found
            else:
                print(f"{self.path} was measured elsewhere, with other code or settings; everything is measured again")

    @property
    def figures(self) -> dict:
        return self.data["figures"]

    def measured(self, key: str, measure) -> dict:
        """The figures under this key: those of the file, or what ``measure()`` returns, with the machine's load around it."""
        if key not in self.figures:
            before = os.getloadavg()[0]
            figures = measure()
            self.figures[key] = figures | {"load_average": [before, os.getloadavg()[0]]}
            write_json(self.path, self.data)
        return self.figures[key]

    def write(self, title: str, parts: list[str]) -> str:
        """Write NAME.json and NAME.md: the title, where it was measured, and these Markdown paragraphs. Returns the text."""
        write_json(self.path, self.data)
        text = "\n\n".join([f"# {title}", where(self.data), *parts]) + "\n"
        write_bytes(self.out / f"{self.name}.md", text.encode())
        return text


def where(data: dict) -> str:
    """A sentence on where and how the figures of a report were measured."""
    here = data["environment"]
    machine, versions = here["machine"], ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    loads = [load for f in data["figures"].values() for load in f.get("load_average", [])]
    busy = f" The machine's load average was {min(loads):.1f} to {max(loads):.1f} meanwhile." if loads else ""
    code = f"commit {here['commit'] or 'unknown'}, sources {here['sources'][:16]}"
    return (
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['memory'] / 2**30:.0f} GiB, {machine['system']}; "
        f"Python {here['python']}, {versions}; {code}; seed {data['seed']}.{busy}"
    )


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a table's rows are as long as its header")
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in (header, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(header) - 1), *lines[1:]])


@contextmanager
def figure(path: Path, rows: int, columns: int, *, size: tuple[float, float] = (4.7, 3.8), dpi: int = 100):
    """(figure, list of panels) to draw on; replaces the PNG file, whole or not at all. size: of a panel, in inches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image  # matplotlib's own way to files

    drawn, axes = plt.subplots(rows, columns, figsize=(columns * size[0], 0.4 + rows * size[1]), layout="constrained", squeeze=False)
    try:
        yield drawn, list(axes.reshape(-1))
        drawn.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
        for axis in drawn.axes:
            axis.spines[["top", "right"]].set_visible(False)
            _fit_title(axis.title, 0.97 * drawn.bbox.width / columns)
        image = io.BytesIO()
        drawn.savefig(image, dpi=dpi, format="png")
        with Image.open(image) as picture:
            write_bytes(path, few_colours(picture, 64))  # reports end up in notebooks
    finally:
        plt.close(drawn)


def _fit_title(title, room: float) -> None:
    """Make a title smaller that is wider than its panel's share of the figure: its neighbours or the edge would cut it."""
    width = title.get_window_extent().width
    if width > room:
        title.set_fontsize(title.get_fontsize() * room / width)


def few_colours(picture, count: int) -> bytes:
    """A PNG file of a plot in so many colours: a quarter of the bytes.

    Half of them, with pure white, are those of the whole picture. The others are of its coloured pixels alone: all lines together
    are a few pixels among the white, and a palette of the whole picture turns them grey.
    """
    import numpy as np
    from PIL import Image

    def palette(pixels, size: int) -> list[int]:
        return Image.fromarray(pixels).quantize(size).getpalette()[: 3 * size]

    pixels = np.asarray(picture.convert("RGB"))
    packed, places = np.unique(pixels @ np.array([65536, 256, 1]), return_inverse=True)
    colours = packed[:, None] >> np.array([16, 8, 0]) & 255
    coloured = pixels[np.ptp(pixels.astype(int), axis=-1) > 20]
    chosen = [255, 255, 255, *palette(pixels, count // 2 - 1), *(palette(coloured[None], count // 2) if len(coloured) else ())]
    distances = (colours[:, None] - np.reshape(chosen, (-1, 3))) ** 2
    nearest = np.argmin(distances.sum(axis=-1), axis=-1).astype(np.uint8)
    small, file = Image.fromarray(nearest[places].reshape(pixels.shape[:2])), io.BytesIO()
    small.putpalette(chosen)
    small.save(file, format="png", optimize=True)
    return file.getvalue()


def log_axis(axis, values, text="{:,}".format) -> None:
    """A logarithmic x axis with ticks at these values and nowhere else."""
    axis.set_xscale("log")
    axis.set_xticks(values, [text(v) for v in values])
    axis.minorticks_off()


def log_y(axis) -> None:
    """A logarithmic y axis with plain numbers at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def positive(text: str) -> int:
    """An argument that is an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def parse_options(parser, default: str, arguments: list[str] | None, repeat: tuple[int, int] | None = None):
    """Parse what all reproduction scripts understand, and what the parser has. repeat: warm calls, by default and with --full."""
    parser.add_argument("--out", type=Path, default=Path("runs") / default, help="where the results go (default %(default)s)")
    parser.add_argument("--full", action="store_true", help="the full size; the default is a reduced one")
    parser.add_argument("--fresh", action="store_true", help="measure everything again")
    if repeat:
        told = f"warm proofs of each point (default: {repeat[0]}, with --full {repeat[1]})"
        parser.add_argument("--repeat", type=positive, help=told)
    parsed = parser.parse_args(arguments)
    if repeat and parsed.repeat is None:
        parsed.repeat = repeat[parsed.full]
    return parsed


def compared(ours: float, theirs: float) -> str:
    """How ours stands to theirs, in either direction: "3.2 x less", "2 x more", "about the same"."""
    ratio = ours / theirs
    if 0.9 < ratio < 1.1:
        return "about the same"
    return f"{times(1 / ratio)} less" if ratio < 1 else f"{times(ratio)} more"


def times(ratio: float) -> str:
    """ "3.2 x", "2 x", "280 x"."""
    return f"{ratio:.0f} x" if ratio >= 10 else f"{ratio:.2g} x"
