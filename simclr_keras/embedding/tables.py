"""Embeddings as tables: Parquet and CSV, through Apache Arrow."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

_KEY = b"simclr_keras"
_ROWS = 4096
_COLUMNS = ("path", "label", "valid", "error")
_UNREADABLE = (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowTypeError)


def write_parquet(path, rows, class_names, num_features, metadata):
    """Arguments as `files.write`; `metadata` is text."""
    embedding = pa.field("embedding", pa.list_(pa.float32(), num_features))
    schema = _schema(class_names, [embedding])
    schema = schema.with_metadata({_KEY: metadata.encode()})
    with pyarrow.parquet.ParquetWriter(
        path, schema, use_dictionary=["class_name", "error"]
    ) as writer:
        for chunk in rows():
            values = np.ascontiguousarray(chunk.embeddings).reshape(-1)
            embeddings = pa.FixedSizeListArray.from_arrays(
                pa.array(values), num_features
            )
            columns = [*_columns(chunk, class_names), embeddings]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def write_csv(path, rows, class_names, num_features, metadata):
    """Arguments as `files.write`; `metadata` is left out."""
    schema = _schema(
        class_names,
        [pa.field(f"e{n}", pa.float32()) for n in range(num_features)],
    )
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for chunk in rows():
            values = np.ascontiguousarray(chunk.embeddings.T)
            columns = [*_columns(chunk, class_names), *map(pa.array, values)]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def read_parquet(path):
    """Yields the fields of `files.Rows`."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check(path, file.schema_arrow.names, "embedding")
            for batch in file.iter_batches(batch_size=_ROWS):
                values = batch["embedding"].flatten().to_numpy()
                yield *_fields(batch), values.reshape(batch.num_rows, -1)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is no whole Parquet file: {error}") from error


def read_csv(path):
    """Yields the fields of `files.Rows`."""
    try:
        names = pyarrow.csv.open_csv(path, parse_options=_PARSE).schema.names
        _check(path, names, "e0")
        embedding = [name for name in names if name[1:].isdecimal()]
        types = {name: pa.float32() for name in embedding}
        types |= {name: pa.string() for name in ("path", "class_name", "error")}
        types |= {"label": pa.int64(), "valid": pa.bool_()}
        options = pyarrow.csv.ConvertOptions(column_types=types)
        for batch in pyarrow.csv.open_csv(
            path, parse_options=_PARSE, convert_options=options
        ):
            columns = [batch[name].to_numpy() for name in embedding]
            yield *_fields(batch), np.stack(columns, axis=1)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is no whole CSV file: {error}") from error


def parquet_metadata(path):
    """The text that `write_parquet` was given; None if there is none."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            return (file.schema_arrow.metadata or {}).get(_KEY)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is no whole Parquet file: {error}") from error


# Names of files may have line breaks.
_PARSE = pyarrow.csv.ParseOptions(newlines_in_values=True)


def _schema(class_names, embedding):
    names = [] if class_names is None else [pa.field("class_name", pa.string())]
    return pa.schema(
        [
            pa.field("path", pa.string()),
            pa.field("label", pa.int64()),
            *names,
            pa.field("valid", pa.bool_()),
            pa.field("error", pa.string()),
            *embedding,
        ]
    )


def _columns(chunk, class_names):
    labels, errors = chunk.labels, np.asarray(chunk.errors)
    names = []
    if class_names is not None:
        names = [pa.array(chunk.class_names, pa.string(), mask=labels < 0)]
    return [
        pa.array(chunk.paths, pa.string()),
        pa.array(labels, mask=labels < 0),
        *names,
        pa.array(errors == ""),
        pa.array(errors, pa.string()),
    ]


def _fields(batch):
    names = None
    if "class_name" in batch.schema.names:
        names = _text(batch["class_name"])
    return (
        _text(batch["path"]),
        batch["label"].fill_null(-1).to_numpy(zero_copy_only=False),
        names,
        _text(batch["error"]),
    )


def _text(column):
    return column.fill_null("").to_numpy(zero_copy_only=False)


def _check(path, names, embedding):
    missing = {*_COLUMNS, embedding} - set(names)
    if missing:
        raise ValueError(
            f"{path} has no column {sorted(missing)[0]!r}: it was not written "
            "by simclr-embed"
        )
