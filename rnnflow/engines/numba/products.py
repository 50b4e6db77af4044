"""Products of matrices in panels, a register tile at a time, and what goes with them.

Arguments are places in `work`. A and C are `(panels, rows, 16)` with `panel` numbers from one panel to the next; rows are
worked on by whole tiles, so that up to `ROWS - 1` rows behind the last one are computed too and must be allocated. B is
`(num_panels, depth, 16)` with `b_stride` from one panel to the next.
"""

from rnnflow.engines.numba.simd import ROWS, WIDTH, ZERO, broadcast, kernel, load, store, tile

_set = tile("zero", is_transposed=False)
_add = tile("sum", is_transposed=False)
_set_biased = tile("bias", is_transposed=False)
_add_outer = tile("sum", is_transposed=True)


@kernel
def whole_tiles(rows):
    """Return a number of rows rounded up to whole tiles."""
    return -(-rows // ROWS) * ROWS


@kernel
def product(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C = a @ b."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            _set(work, c + index * panel + row * WIDTH, a + row * WIDTH, panel, b + index * b_stride, depth, 0)


@kernel
def product_added(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C += a @ b."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            _add(work, c + index * panel + row * WIDTH, a + row * WIDTH, panel, b + index * b_stride, depth, 0)


@kernel
def product_biased(work, c, a, b, b_stride, bias, rows, num_panels, depth, panel):
    """C = a @ b + bias."""
    for index in range(num_panels):
        for row in range(0, rows, ROWS):
            at = c + index * panel + row * WIDTH
            _set_biased(work, at, a + row * WIDTH, panel, b + index * b_stride, depth, bias + index * WIDTH)


@kernel
def outer_added(work, c, c_stride, a, b, num_columns, num_panels, rows, panel):
    """C += aᵀ @ b over the rows of both; the rows of C are columns of A, by whole tiles."""
    for index in range(num_panels):
        for column in range(0, num_columns, ROWS):
            factors = a + column // WIDTH * panel + column % WIDTH
            _add_outer(work, c + index * c_stride + column * WIDTH, factors, 0, b + index * panel, rows, 0)


@kernel
def column_sums_added(work, sums, a, rows, num_panels, panel):
    """Add the sum of each column of A to `sums`, row by row."""
    for index in range(num_panels):
        total = load(work, sums + index * WIDTH)
        for row in range(rows):
            total = total + load(work, a + index * panel + row * WIDTH)
        store(work, sums + index * WIDTH, total)


@kernel
def clear(work, at, size):
    """Set a range of numbers to zero."""
    for index in range(at, at + size):
        work[index] = 0.0


@kernel
def clear_rows(work, at, first, stop, num_panels, panel):
    """Set rows of a matrix to zero."""
    zero = broadcast(ZERO)
    for index in range(num_panels):
        for row in range(first, stop):
            store(work, at + index * panel + row * WIDTH, zero)
