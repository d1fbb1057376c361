"""Whether published arrays are what stands behind the commitments of verified proofs: by disclosures, up to the proofs' links.

Which commitment is meant is said by the proofs, never by the disclosure: an item counts where its digest, which binds kind, number, sizes
and root, is one that they name or link. Then its root is computed from the arrays and the disclosed seed, or the claim at a point verified.

PROTOCOL.md, sections 4.6, 4.9, 14.3.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ..algebra import field
from ..algebra.layout import Layout
from ..circuit.circuit import Circuit
from ..circuit.data import rounded, whole_samples
from ..circuit.parts import CELLS, PARAMETERS, Input
from ..commitment.commit import Commitment, stack
from ..commitment.dataset import root_from_siblings
from ..commitment.geometry import Geometry
from ..commitment.opening import opening_work, verify_claim
from ..commitment.recompute import recompute_work, recomputed_root
from ..errors import ConfigurationError, DataError, FormatError, VerificationError
from ..protocol.disclosure import HIDDEN, Point, digest_of_cells
from ..protocol.plan import row_count
from ..protocol.schedule import batch_indices
from ..protocol.transcript import Reader, Transcript
from ..work import CALL, HASH, PASSING, PRODUCT, SCALAR, Meter
from .alone import LinkStatement
from .checks import schedule_of
from .disclosure import Disclosure, Item, numbers_in
from .drawing import Drawing, drawn_integers
from .links import Classes, check_parts, joined
from .model import Model, integers_of
from .soundness import TARGET, security
from .statement import Statement

PLACING = 40  # bytes for each cell of a shard while some samples are placed in it


def check_disclosed(
    circuit: Circuit,
    statements: Iterable[Statement | LinkStatement],
    disclosures: Sequence[Disclosure],
    *,
    model: Model | None = None,
    initial_model: Model | None = None,
    drawing: Drawing | None = None,
    data: Sequence[np.ndarray] | None = None,
    minimum_bits: float = TARGET,
    max_work: int | None = None,
    max_memory: int | None = None,
) -> Disclosure | None:
    """What ``zkjax.verify`` requires of published arrays. Returns the disclosure that says which samples the data are, None without data.

    statements: of a chain that has been verified. max_work, max_memory: of this alone. Raises: VerificationError; FormatError - a
    malformed disclosure; ConfigurationError - misuse.
    """
    if not isinstance(disclosures, list | tuple) or not all(isinstance(x, Disclosure) for x in disclosures):
        raise ConfigurationError("disclosures: give a list of zkjax.Disclosure (zkjax.Disclosure.load reads one)")
    for name, value in (("model", model), ("initial_model", initial_model)):
        if not isinstance(value, Model | None):
            raise ConfigurationError(f"{name} is a {type(value).__name__}; give a zkjax.Model (zkjax.Model.load reads one)")
    if not isinstance(drawing, Drawing | None):
        raise ConfigurationError(f"drawing is a {type(drawing).__name__}; give a zkjax.Drawing (zkjax.Drawing.load reads one)")
    if data is not None and (not isinstance(data, list | tuple) or not all(isinstance(x, np.ndarray) for x in data)):
        raise ConfigurationError("data: give a tuple of NumPy arrays, samples first, in the order of the circuit's inputs")
    named = {"model": model, "initial_model": initial_model, "drawing": drawing, "data": data}
    wanted = [name for name, value in named.items() if value is not None]
    if bool(wanted) != bool(disclosures):
        told = (
            f"{', '.join(wanted)}: a disclosure ties it to the proofs"
            if wanted
            else "a disclosure says nothing without a model, a drawing or data"
        )
        raise ConfigurationError(f"{told}; give both")
    statements, meter = list(statements), Meter(max_work, max_memory)
    classes, chunks = joined(statements), [s for s in statements if isinstance(s, Statement)]
    read = [Disclosure.parse(bytes(x)) for x in disclosures]
    if model is not None:
        check_model(circuit, chunks[-1], True, classes, read, model, meter, minimum_bits)
    if initial_model is not None:
        check_model(circuit, chunks[0], False, classes, read, initial_model, meter, minimum_bits)
    if drawing is not None:
        check_drawing(circuit, chunks[0], classes, read, drawing, initial_model, meter, minimum_bits)
    return None if data is None else check_data(circuit, chunks[0], classes, read, data, meter, minimum_bits)


def check_model(
    circuit: Circuit,
    statement: Statement,
    last: bool,
    classes: Classes,
    disclosures: Sequence[Disclosure],
    model: Model,
    meter: Meter,
    minimum_bits: float,
) -> None:
    """The model's integers are behind the statement's last parameters, or its first ones. Raises VerificationError.

    classes: of a verified chain, this statement's. meter: is charged before anything large is done.
    """
    commitment = statement.final if last else statement.initial
    arrays = integers_of(model, circuit, statement.shifts_after if last else statement.shifts)
    if model.step != commitment.number:
        raise VerificationError("model", f"it says that it is of step {model.step}, the commitment is of step {commitment.number}")
    _check_behind(circuit, statement, commitment, classes, disclosures, arrays, "model", meter, minimum_bits)


def check_drawing(
    circuit: Circuit,
    statement: Statement,
    classes: Classes,
    disclosures: Sequence[Disclosure],
    drawing: Drawing,
    model: Model | None,
    meter: Meter,
    minimum_bits: float,
) -> None:
    """The statement's first parameters are what the drawing says, rounded. Raises VerificationError.

    model: of the first parameters, compared already: then nothing else is left to compare. None: the drawing is of all trained ones, and of
    all frozen ones or none; the latter are left open then.
    """
    drawn = drawn_integers(drawing, circuit, statement.shifts, meter)
    if model is not None:
        integers = integers_of(model, circuit, statement.shifts)
        for p, x in drawn.items():
            if not np.array_equal(x, integers[p]):
                raise VerificationError("drawing", f"{circuit.parameters[p].path} in the first weights' file is not what is drawn")
        return
    frozen = () if statement.frozen is None else statement.frozen.parameters
    needed = (*circuit.held[PARAMETERS], *(frozen if set(frozen) & set(drawn) else ()))
    for p in needed:
        if p not in drawn:
            told = f"{circuit.parameters[p].path} is not drawn; give the first weights' file too, which holds it"
            raise VerificationError("drawing", told)
    _check_behind(circuit, statement, statement.initial, classes, disclosures, drawn, "drawing", meter, minimum_bits)


def _check_behind(
    circuit: Circuit,
    statement: Statement,
    commitment: Commitment,
    classes: Classes,
    disclosures: Sequence[Disclosure],
    arrays: dict[int, np.ndarray],
    check: str,
    meter: Meter,
    minimum_bits: float,
) -> None:
    """The arrays are behind one of the statement's commitments to parameters; and those of frozen ones, if there are any."""
    geometry = statement.geometry
    parts = [("weights", commitment, PARAMETERS, circuit.held[PARAMETERS])]
    if statement.frozen is not None and set(statement.frozen.parameters) <= set(arrays):
        parts.append(("frozen", statement.frozen.commitment, CELLS, statement.frozen.parameters))
    found = [
        _item_of(disclosures, kind, part, named.part_digest(geometry, part), geometry, classes, meter) for kind, named, part, _ in parts
    ]
    for (disclosure, item), (*_, numbers) in zip(found, parts, strict=True):
        layout = Layout({p: circuit.parameters[p].shape for p in numbers})
        _check(disclosure, item, layout, arrays, check, meter, minimum_bits)


def check_data(
    circuit: Circuit,
    statement: Statement,
    classes: Classes,
    disclosures: Sequence[Disclosure],
    data: Sequence[np.ndarray],
    meter: Meter,
    minimum_bits: float = TARGET,
) -> Disclosure:
    """The arrays, rounded as the circuit says, are what is disclosed of the statement's dataset, in order: shards, or some samples.

    Returns the disclosure that says which. Raises VerificationError.
    """
    found = next((x for x in disclosures if _leads_to(x, statement, classes, meter)), None)
    if found is None:
        raise VerificationError("disclosure", "none of them is of the proofs' dataset; give one of zkjax.disclose(run, 'dataset')")
    inputs, ranges = found.inputs(circuit.inputs), found.ranges
    integers, total = _integers([circuit.inputs[k] for k in inputs], data), sum(end - first for first, end in ranges)
    if total != len(integers[0]):
        raise VerificationError("data", f"{len(integers[0]):,} samples, what is disclosed are {total:,}")
    meter.charge("numbers of samples", CALL * len(found.items) + SCALAR * len(ranges) + total, 0, PASSING * total)
    numbers, size, cells = numbers_in(ranges), statement.shard_size, []
    for item in found.items:
        start = item.commitment.number * size
        own = slice(*np.searchsorted(numbers, (start, start + size)))
        arrays = {k: array[own] for k, array in zip(inputs, integers, strict=True)}
        layout = Layout({k: (min(size, statement.samples - start), *x.shape[1:]) for k, x in enumerate(circuit.inputs)})
        if item.seed is not None:
            _check(found, item, layout, arrays, "data", meter, minimum_bits)
        else:
            cells.append(cells_of(layout, arrays, numbers[own] - start, _rows(found, item, layout, meter), found.geometry.row))
    if cells:
        check_point(found, cells, "data", meter, minimum_bits)
    return found


def told_of(disclosure: Disclosure, circuit: Circuit, statements: Sequence[Statement]) -> str:
    """Which part of the dataset a compared disclosure is of, for people; of samples also how often the steps of these chunks read them."""
    part = disclosure.part(circuit.inputs)
    if disclosure.dataset.chosen is None:
        return part
    read, numbers = np.concatenate([batch_indices(*schedule_of(circuit, s)).ravel() for s in statements]), numbers_in(disclosure.ranges)
    read.sort()
    times = np.searchsorted(read, numbers, "right") - np.searchsorted(read, numbers)
    low, high = int(times.min()), int(times.max())
    count = f"{low}" if low == high else f"{low} to {high}"
    return f"{part}, {'each ' * (len(numbers) > 1)}read {count} time{'s' * (count != '1')} in these steps"


def _item_of(disclosures, kind: str, part: str, digest: bytes, geometry: Geometry, classes: Classes, meter: Meter):
    """The disclosure, and what in it is of a part of this digest, or of one that a link says is equal."""
    for disclosure in disclosures:
        meter.charge("digests of disclosed commitments", 4 * HASH * len(disclosure.items))
        for item in disclosure.items if disclosure.geometry == geometry else ():
            known = item.commitment.kind == kind and part in [x.name for x in item.commitment.parts]
            if known and classes.same(item.commitment.part_digest(geometry, part), digest):
                return disclosure, item
    called = {"weights": "these weights", "frozen": "the frozen weights"}[kind]
    raise VerificationError(
        "disclosure", f"none of them is of the commitment to {called}; give that of zkjax.disclose, and all proofs that replace commitments"
    )


def _leads_to(disclosure: Disclosure, statement: Statement, classes: Classes, meter: Meter) -> bool:
    """Whether its shards are of the statement's dataset."""
    data, geometry = disclosure.dataset, statement.geometry
    if data is None or disclosure.geometry != geometry or (data.samples, data.shard_size) != (statement.samples, statement.shard_size):
        return False
    meter.charge("paths to the dataset", 4 * HASH * (len(disclosure.items) + len(data.siblings)))
    digests = {item.commitment.number: item.commitment.digest(geometry) for item in disclosure.items}
    try:
        root = root_from_siblings(digests, list(data.siblings), data.samples, data.shard_size)
    except FormatError:
        return False
    return classes.same(statement.dataset, root)


def _check(disclosure: Disclosure, item: Item, layout: Layout, arrays: dict, check: str, meter: Meter, minimum_bits: float) -> None:
    """The arrays, placed by the layout, are all that the item's commitment holds."""
    geometry, commitment = disclosure.geometry, item.commitment
    meter.next_proof()
    rows = rows_of(layout, arrays, _rows(disclosure, item, layout, meter), geometry.row)
    if item.seed is None:
        check_point(disclosure, [rows], check, meter, minimum_bits)
        return
    recompute_work(len(rows), commitment.parts[0].budget, geometry, meter)
    if recomputed_root(rows, commitment, geometry, item.seed) != commitment.root:
        called = f"{commitment.kind} {commitment.number}"
        raise VerificationError(
            check, f"these arrays and the disclosed seed do not lead to the root of {called}: others are behind it, or the file was altered"
        )


def _rows(disclosure: Disclosure, item: Item, layout: Layout, meter: Meter) -> int:
    """How many an item's commitment has, which are those of the layout. Charges them, before they are made."""
    geometry, commitment, count = disclosure.geometry, item.commitment, row_count(layout, disclosure.geometry.row)
    called, entries = f"commitment to {commitment.kind} {commitment.number}", count * disclosure.geometry.row
    check_parts(commitment, geometry, called)
    if commitment.parts[0].rows != count:
        raise VerificationError(called, f"{commitment.parts[0].rows} rows, expected {count}")
    meter.charge("disclosed rows", CALL * (1 + len(layout.pieces)) + entries, 8 * entries, 0 if item.seed else PLACING * entries)
    return count


def rows_of(layout: Layout, arrays: dict, count: int, row: int) -> np.ndarray:
    """Arrays of int64 as a commitment's rows: (count, row) uint64 below p, by the layout, with zeros in all other cells."""
    cells = np.zeros(count * row, dtype=np.uint64)
    for piece in layout.pieces:
        block = field.from_int(piece.block(arrays[piece.key]))
        cells[piece.offset : piece.offset + len(block)] = block
    return cells.reshape(count, row)


def cells_of(layout: Layout, arrays: dict, samples: np.ndarray, count: int, row: int) -> np.ndarray:
    """What is public of a shard of which some samples are, as ``protocol.disclosure`` has it: (count, row) uint64.

    layout: of the shard. arrays: of these samples, int64, by those keys of the layout of which they are public. samples: their numbers.
    """
    placed, known = ({k: np.zeros(shape, dtype=np.int64) for k, shape in layout.shapes.items()} for _ in range(2))
    for k, array in arrays.items():
        placed[k][samples], known[k][samples] = array, 1
    return np.where(rows_of(layout, known, count, row) != 0, rows_of(layout, placed, count, row), HIDDEN)


def check_point(disclosure: Disclosure, cells: Sequence[np.ndarray], check: str, meter: Meter, minimum_bits: float) -> None:
    """What is opened agrees with these public cells: both have one value at a point that nobody knew.

    cells: for each matrix, as ``protocol.disclosure`` has it.
    """
    geometry, opened, heights = disclosure.geometry, disclosure.pointed, [len(x) for x in cells]
    offsets, row_variables = stack([*heights, 1])
    shown, entries = sum(heights), sum(heights) * geometry.row
    vectors = PRODUCT * (2 << row_variables) + 3 * PRODUCT * geometry.row
    passing = 8 * entries + PASSING * geometry.row
    meter.charge("value of disclosed rows", CALL * (shown + geometry.log_row) + PRODUCT * entries, 0, passing)
    meter.charge("weights of disclosed rows", CALL * (shown + geometry.log_row) + vectors + entries, 0, passing)
    opening_work(geometry, [*heights, 1], max(x.parts[0].budget for x in opened), meter)
    if digest_of_cells(cells) != disclosure.arrays:
        raise VerificationError(check, "these are not the arrays that the disclosure is about")
    try:
        security(point_errors(heights, geometry), geometry, row_variables).require(minimum_bits)
    except ConfigurationError as error:
        raise VerificationError("security", str(error)) from None
    stream = Reader(Transcript(geometry.digest(), disclosure.canonical()), disclosure.body)
    trace = Commitment.of("trace", 0, 1, 1, stream.raw("trace root", 32), True)
    point = Point.draw(stream.transcript, stack(heights)[1], geometry.log_row)
    placed = list(zip(offsets[:-1], cells, strict=True))
    verify_claim(
        stream,
        geometry,
        [*opened, trace.opened()],
        lambda row_point, column_point: point.weight(row_point, column_point, placed),
        point.value(placed),
    )
    stream.finish()


def point_errors(heights: Sequence[int], geometry: Geometry) -> dict[str, int]:
    """Numerators over |K| of a claim at a point. heights: rows of each matrix."""
    return {"disclosure": stack(heights)[1] + geometry.log_row}


def _integers(inputs: Sequence[Input], data: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Data as integers, as ``Dataset.of`` rounds them. inputs: those whose arrays they are."""
    if len(data) != len(inputs):
        raise VerificationError("data", f"{len(data)} arrays, what is disclosed are {', '.join(x.name for x in inputs)}")
    found: list[np.ndarray] = []
    for expected, array in zip(inputs, data, strict=True):
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or not array.dtype.isnative:
            raise VerificationError("data", f"'{expected.name}' has dtype {array.dtype}; real numbers of at most 8 bytes are rounded")
        try:
            found.append(rounded(expected, whole_samples(expected, array)).astype(np.int64))
        except DataError as error:
            raise VerificationError("data", str(error)) from None
        if len(found[-1]) != len(found[0]):
            raise VerificationError("data", f"'{expected.name}' has {len(found[-1])} samples, '{inputs[0].name}' {len(found[0])}")
    return found
