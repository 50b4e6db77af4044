"""What a file's sequences are in a few letters, by which a file is known again whose content has been replaced."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc


class ContentHash:
    """Grows table after table; where one table ends and the next begins makes no difference."""

    def __init__(self) -> None:
        self._parts = [hashlib.blake2b(digest_size=8) for _ in range(3)]

    def add(self, table: pa.Table) -> None:
        """Take in sequences in the contract's schema."""
        sequences = table["sequence"].combine_chunks()
        values, lengths, labels = self._parts
        values.update(sequences.flatten().to_numpy())
        lengths.update(pc.list_value_length(sequences).to_numpy(zero_copy_only=False))
        labels.update("\0".join([*table["label"].to_pylist(), ""]).encode())

    def hexdigest(self) -> str:
        """Return 16 letters."""
        whole = hashlib.blake2b(digest_size=8)
        for part in self._parts:
            whole.update(part.digest())
        return whole.hexdigest()
