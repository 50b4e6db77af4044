"""Products of matrices in panels, a register tile at a time, and what goes with them.

Arguments are places in `work`. A and C are `(panels, rows, 16)` with `panel` numbers from one panel to the next; rows are
worked on by whole tiles, so that up to `ROWS - 1` rows behind the last one are computed too and must be allocated. B is
`(num_panels, depth, 16)` with `b_stride` from one panel to the next.
"""

from typing import Any

from rnnflow.engines.numba.simd import ZERO, Start, broadcast, kernel, load, store, tile
from rnnflow.engines.numba.target import PANELS, ROWS, WIDTH


@kernel
def whole_tiles(rows):
    """Return a number of rows rounded up to whole tiles."""
    return -(-rows // ROWS) * ROWS


def _product(start: Start) -> Any:
    """Return the kernel of a product by tiles of several panels, and of one for those that are left over."""
    several, single = (
        tile(start, is_transposed=False, num_panels=PANELS),
        tile(start, is_transposed=False, num_panels=1),
    )

    @kernel
    def product(work, c, a, b, b_stride, bias, rows, num_panels, depth, panel):
        whole = num_panels // PANELS * PANELS
        # Panels outside, rows inside: the weights of a panel stay in the nearest cache while all rows go past them.
        for index in range(0, whole, PANELS):
            to, of_b, bias_at = c + index * panel, b + index * b_stride, bias + index * WIDTH
            for row in range(0, rows * WIDTH, ROWS * WIDTH):
                several(work, to + row, panel, a + row, panel, of_b, b_stride, depth, bias_at)
        for index in range(whole, num_panels):
            to, of_b, bias_at = c + index * panel, b + index * b_stride, bias + index * WIDTH
            for row in range(0, rows * WIDTH, ROWS * WIDTH):
                single(work, to + row, panel, a + row, panel, of_b, b_stride, depth, bias_at)

    return product


_set, _add, product_biased = _product("zero"), _product("sum"), _product("bias")
"""C = a @ b, C += a @ b, C = a @ b + bias; only the last reads a bias."""


@kernel
def product(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C = a @ b."""
    _set(work, c, a, b, b_stride, 0, rows, num_panels, depth, panel)


@kernel
def product_added(work, c, a, b, b_stride, rows, num_panels, depth, panel):
    """C += a @ b."""
    _add(work, c, a, b, b_stride, 0, rows, num_panels, depth, panel)


_outer, _outer_single = (tile("sum", is_transposed=True, num_panels=num_panels) for num_panels in (PANELS, 1))


@kernel
def outer_added(work, c, c_stride, a, b, num_columns, num_panels, rows, panel):
    """C += aᵀ @ b over the rows of both; the rows of C are columns of A, by whole tiles."""
    whole = num_panels // PANELS * PANELS
    for column in range(0, num_columns, ROWS):
        factors, to = a + column // WIDTH * panel + column % WIDTH, c + column * WIDTH
        for index in range(0, whole, PANELS):
            _outer(work, to + index * c_stride, c_stride, factors, 0, b + index * panel, panel, rows, 0)
        for index in range(whole, num_panels):
            _outer_single(work, to + index * c_stride, c_stride, factors, 0, b + index * panel, panel, rows, 0)


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
    """Set a range of numbers to zero, and behind it those that fill up a vector."""
    zero = broadcast(ZERO)
    for index in range(at, at + size, WIDTH):
        store(work, index, zero)


@kernel
def clear_rows(work, at, first, stop, num_panels, panel):
    """Set rows of a matrix to zero."""
    zero = broadcast(ZERO)
    for index in range(num_panels):
        for row in range(first, stop):
            store(work, at + index * panel + row * WIDTH, zero)
