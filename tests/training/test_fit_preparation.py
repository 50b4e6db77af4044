import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnflow.classifier.preparation import Preparation
from rnnflow.params.models import ModelParams, Scaling
from rnnflow.sequences.dataset import SequenceDataset
from rnnflow.sequences.padding import pad
from rnnflow.training import fit_preparation
from tests import toys


def split(lengths: list[int], missing: float = 0.2, seed: int = 0) -> SequenceDataset:
    sequences = toys.random_sequences(lengths, seed=seed, missing=missing)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return SequenceDataset(
        np.concatenate(sequences), offsets, np.zeros(len(lengths), np.int64), toys.FEATURES, toys.CLASSES
    )


def fitted(train: SequenceDataset, **params: object) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation."""
    preparation = Preparation(ModelParams.model_validate({"cell": "gru"} | params), len(train.features))
    fit_preparation.fit(preparation, train)
    return preparation.mean, 1 / preparation.inverse_deviation


def test_it_is_the_mean_and_deviation_without_missing_values() -> None:
    train = split([5, 3, 9])
    mean, std = fitted(train)
    np.testing.assert_allclose(mean, np.nanmean(train.values, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, np.nanstd(train.values, 0), rtol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    params=toys.preparations(),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    chunk_steps=st.integers(1, 40),
)
def test_the_train_split_it_was_fitted_to_has_mean_0_and_deviation_1_once_prepared(
    params: dict[str, object], lengths: list[int], chunk_steps: int
) -> None:
    params = params | {"scaling": "global"}
    train = split(lengths)
    preparation = Preparation(ModelParams.model_validate({"cell": "gru"} | params), 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_preparation, "CHUNK_STEPS", chunk_steps)
        patch.setattr(fit_preparation, "CHUNK_VALUES", 2 * chunk_steps)
        fit_preparation.fit(preparation, train)
    unscaled = Preparation(ModelParams.model_validate({"cell": "gru"} | params), 2)
    parts = []
    for start, end in zip(train.offsets[:-1], train.offsets[1:], strict=True):
        derived, _ = unscaled.derive(train.values[None, start:end].astype(np.float64), None, "global")
        parts.append(derived[0])
    values = np.concatenate(parts)
    for feature, column in enumerate(values.T):
        known = column[~np.isnan(column)]
        mean, std = (known.mean(), known.std()) if len(known) else (0.0, 0.0)
        assert preparation.mean[feature].item() == pytest.approx(mean, abs=1e-6, rel=1e-5)
        if std > 1e-6 or std == 0:
            expected = 1 / std if std else 1.0
            assert preparation.inverse_deviation[feature].item() == pytest.approx(expected, rel=1e-4)


def test_differences_get_figures_of_their_own() -> None:
    values = np.arange(20, dtype=np.float32).repeat(2).reshape(-1, 2) * [1, -3]
    train = SequenceDataset(
        values.astype(np.float32), np.array([0, 20]), np.zeros(1, np.int64), toys.FEATURES, toys.CLASSES
    )
    mean, std = fitted(train, differences=True)
    np.testing.assert_allclose(mean, [9.5, -28.5, 0.95, -2.85], rtol=1e-6)  # the first step's is zero
    np.testing.assert_allclose(std[2:], np.sqrt(0.95 * 0.05) * np.array([1, 3]), rtol=1e-5)


def test_values_with_a_large_mean_keep_their_deviation() -> None:
    train = split([50] * 20, missing=0.0)
    shifted = SequenceDataset(
        train.values + np.float32(1e6), train.offsets, train.labels, train.features, train.classes
    )
    for params in ({}, {"downsampling": 4}, {"differences": True}):
        mean, std = fitted(train, **params)
        shifted_mean, shifted_std = fitted(shifted, **params)
        np.testing.assert_allclose(shifted_std, std, rtol=0.01)
        np.testing.assert_allclose(shifted_mean[:2] - 1e6, mean[:2], atol=0.1)


def test_a_feature_that_is_constant_or_never_known_is_left_as_it_is() -> None:
    values = np.array([[7.0, np.nan], [7.0, np.nan]], dtype=np.float32)
    train = SequenceDataset(values, np.array([0, 2]), np.zeros(1, np.int64), toys.FEATURES, toys.CLASSES)
    mean, std = fitted(train)
    assert mean.tolist() == [7, 0]
    assert std.tolist() == [1, 1]


def test_without_scaling_nothing_is_fitted() -> None:
    mean, std = fitted(split([5, 3]), scaling="none")
    assert mean.tolist() == [0, 0]
    assert std.tolist() == [1, 1]


def of_all_sizes(seed: int = 0) -> SequenceDataset:
    """Return fifty sequences of sizes from 0.001 to 1,000 and some that are constant or next to it."""
    rng = np.random.default_rng(seed)
    sizes = np.concatenate([10 ** np.linspace(-3, 3, 50), [0.0, 1e-9]])
    lengths = rng.integers(5, 20, len(sizes))
    values = rng.standard_normal((lengths.sum(), 2)).astype(np.float32) * sizes.repeat(lengths)[:, None]
    values[rng.random(values.shape) < 0.1] = np.nan
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = np.zeros(len(sizes), np.int64)
    return SequenceDataset(values.astype(np.float32), offsets, labels, toys.FEATURES, toys.CLASSES)


@pytest.mark.parametrize("chunk_values", [2, 70, 10**6])
def test_compression_begins_at_the_spread_of_small_sequences(
    monkeypatch: pytest.MonkeyPatch, chunk_values: int
) -> None:
    monkeypatch.setattr(fit_preparation, "CHUNK_STEPS", chunk_values)
    monkeypatch.setattr(fit_preparation, "CHUNK_VALUES", chunk_values)
    train = of_all_sizes()
    preparation = Preparation(ModelParams(cell="gru", scaling="compressed"), 2)
    fit_preparation.fit(preparation, train)
    deviations = [np.nanstd(part.astype(np.float64), axis=0) for part in np.split(train.values, train.offsets[1:-1])]
    for feature in range(2):
        column = train.values[:, feature]
        assert preparation.median[feature] == np.quantile(column[~np.isnan(column)], 0.5, method="lower")
        counted = sorted(row[feature] for row in deviations)[2:]  # neither the constant one nor the one next to it
        assert 1 / preparation.inverse_spread[feature] == pytest.approx(
            np.quantile(counted, 0.1, method="lower"), rel=1e-5
        )
    values = np.concatenate(
        [preparation(part[None], None)[0][0] for part in np.split(train.values, train.offsets[1:-1])]
    )
    known = ~np.isnan(train.values)
    np.testing.assert_allclose(values.mean(0, where=known), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(0, where=known), 1, rtol=1e-5)


def test_compression_of_constant_and_of_unknown_features_is_survived() -> None:
    values = np.array([[7.0, np.nan], [7.0, np.nan], [7.0, np.nan]], dtype=np.float32)
    train = SequenceDataset(values, np.array([0, 2, 3]), np.zeros(2, np.int64), toys.FEATURES, toys.CLASSES)
    preparation = Preparation(ModelParams(cell="gru", scaling=["global", "compressed", "sequence"]), 2)
    fit_preparation.fit(preparation, train)
    assert preparation.median.tolist() == [7, 0]
    assert preparation.inverse_spread.tolist() == [1, 1]
    assert not preparation(values[None], None)[0].any()


def test_sequences_of_one_step_are_compressed_by_the_deviation_of_the_split() -> None:
    train = split([1] * 50, missing=0.0)
    preparation = Preparation(ModelParams(cell="gru", scaling="compressed"), 2)
    fit_preparation.fit(preparation, train)
    np.testing.assert_allclose(1 / preparation.inverse_spread, train.values.std(0), rtol=1e-5)


def test_each_kind_of_scaling_is_fitted_as_if_it_were_alone() -> None:
    train = of_all_sizes()
    kinds: list[Scaling] = ["sequence", "compressed", "global"]
    together = Preparation(ModelParams(cell="gru", scaling=kinds, differences=True, downsampling=2), 2)
    fit_preparation.fit(together, train)
    for index, kind in enumerate(kinds):
        alone = Preparation(ModelParams(cell="gru", scaling=kind, differences=True, downsampling=2), 2)
        fit_preparation.fit(alone, train)
        np.testing.assert_array_equal(together.mean[together.part(index)], alone.mean)
        np.testing.assert_array_equal(together.inverse_deviation[together.part(index)], alone.inverse_deviation)


def test_a_long_sequence_among_short_ones_takes_no_memory_for_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    train = split([1000] + [2] * 500)
    num_steps = []

    def counted(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        padded = pad(values, offsets, rows)
        num_steps.append(padded.shape[0] * padded.shape[1])
        return padded

    monkeypatch.setattr(fit_preparation, "CHUNK_VALUES", 2 * 1000)
    monkeypatch.setattr(fit_preparation, "pad", counted)
    fitted(train, downsampling=2)
    assert num_steps == [1000, 1000] * 2  # the long one and the 500, for the mean and for the deviation


@settings(deadline=None, max_examples=80)
@given(
    params=toys.preparations(),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    chunk_steps=st.integers(1, 40),
    chunk_values=st.integers(1, 80),
    missing=st.sampled_from([0.0, 0.2, 1.0]),
    memory_budget_mb=st.sampled_from([None, 0, 1]),
)
def test_a_split_is_prepared_as_each_of_its_sequences_alone(
    tmp_path_factory: pytest.TempPathFactory,
    params: dict[str, object],
    lengths: list[int],
    chunk_steps: int,
    chunk_values: int,
    missing: float,
    memory_budget_mb: int | None,
) -> None:
    data = split(lengths, missing)
    model = ModelParams.model_validate({"cell": "gru"} | params)
    preparation = toys.random_preparation(model, 2, np.random.default_rng(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNFLOW_STATE", str(tmp_path_factory.getbasetemp()))
        patch.setattr(fit_preparation, "CHUNK_STEPS", chunk_steps)
        patch.setattr(fit_preparation, "CHUNK_VALUES", chunk_values)
        prepared = fit_preparation.prepare_split(preparation, data, memory_budget_mb)
    assert isinstance(prepared.values, np.memmap) == (memory_budget_mb == 0)
    assert len(prepared) == len(lengths)
    num_steps = [-(-length // model.downsampling) for length in lengths]
    assert prepared.offsets.tolist() == [0, *np.cumsum(num_steps)]
    end = sum(num_steps)
    assert prepared.values.shape == (end + max(num_steps), preparation.num_outputs)
    assert not prepared.values[end:].any()
    stretches = np.split(prepared.values[:end], prepared.offsets[1:-1])
    for sequence, stretch in zip(np.split(data.values, data.offsets[1:-1]), stretches, strict=True):
        alone, _ = preparation(sequence[None], None)
        np.testing.assert_allclose(stretch, alone[0], rtol=1e-5, atol=1e-6)


def test_preparing_a_long_sequence_among_short_ones_takes_no_memory_for_padding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    num_steps = []

    def counted(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
        padded = pad(values, offsets, rows)
        num_steps.append(padded.shape[0] * padded.shape[1])
        return padded

    monkeypatch.setattr(fit_preparation, "CHUNK_VALUES", 2 * 1000)
    monkeypatch.setattr(fit_preparation, "pad", counted)
    fit_preparation.prepare_split(
        Preparation(ModelParams(cell="gru", scaling="sequence"), 2), split([1000] + [2] * 500)
    )
    assert num_steps == [1000, 1000]
