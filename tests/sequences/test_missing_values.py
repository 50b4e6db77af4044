import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.sequences.missing_values import first_missing

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, num_features=st.integers(1, 3), data=st.data())
def test_the_first_missing_value_is_named_by_sequence_and_feature(
    lengths: list[int], num_features: int, data: st.DataObject
) -> None:
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = np.zeros((offsets[-1], num_features), dtype=np.float32)
    assert first_missing(values, offsets) is None
    places = data.draw(st.lists(st.integers(0, values.size - 1), min_size=1, max_size=4))
    values.reshape(-1)[places] = np.nan
    step, feature = divmod(min(places), num_features)
    sequence = next(index for index, end in enumerate(offsets[1:]) if step < end)
    assert first_missing(values, offsets) == (sequence, feature)


def test_nothing_misses_nothing() -> None:
    assert first_missing(np.empty((0, 2), np.float32), np.array([0])) is None
