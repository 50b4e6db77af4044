"""A CSV or Parquet file with one row per time step becomes a Parquet file with one row per recording, as a person would write it.

python -m benchmarks.peers.importing pandas|duckdb FILE OUTPUT
"""

import sys
from pathlib import Path

FEATURES = ("accelerometer", "gyroscope", "temperature", "current")


def by_pandas(path: Path, output: Path) -> None:
    import numpy as np
    import pandas as pd

    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    values = frame[list(FEATURES)].to_numpy(np.float32)
    starts = np.flatnonzero(frame["id"].ne(frame["id"].shift()))
    sequences = [part.reshape(-1) for part in np.split(values, starts[1:])]
    firsts = frame.iloc[starts]
    pd.DataFrame({"id": firsts["id"], "sequence": sequences, "label": firsts["label"]}).to_parquet(output)


def by_duckdb(path: Path, output: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute(
            f"COPY (SELECT id, flatten(list([{', '.join(FEATURES)}]::FLOAT[] ORDER BY time)) AS sequence, "
            f"any_value(label) AS label FROM '{path}' GROUP BY id) TO '{output}' (FORMAT parquet, COMPRESSION zstd)"
        )


if __name__ == "__main__":
    {"pandas": by_pandas, "duckdb": by_duckdb}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
