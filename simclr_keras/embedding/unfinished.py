"""Rows that are made so far, in a folder beside the output file."""

import os
import pathlib
import shutil

import filelock
import numpy as np

from simclr_keras import run_files

_STATE = "state.json"
_ROWS = "rows.bin"


class Unfinished:
    """Rows made so far. A kill, at any time, loses those of one `append`.

    They lie in one file, and then `state.json` says how many there are. What
    the file has behind them is of an `append` that was cut off.

    Args:
        output: path of the file that they are for. The folder is named like
            it, with `.parts` behind.
        num_features: F.

    Attributes:
        folder: pathlib.Path.
        dtype: of a row: `label` and `reason`, int64, and `embedding`,
            [F] float32.
        num_rows: how many there are.
    """

    def __init__(self, output, num_features):
        self.folder = pathlib.Path(f"{output}.parts")
        self.dtype = np.dtype(
            [
                ("label", "<i8"),
                ("reason", "<i8"),
                ("embedding", "<f4", (num_features,)),
            ]
        )
        self.num_rows = 0
        self._lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        self._settings = None

    def begin(self, settings, overwrite=False):
        """Goes on with the rows that are there, or starts with none.

        Args:
            settings: JSON-serialisable dict of what decides on the rows.
            overwrite: bool, whether rows made with others are dropped.

        Raises:
            ValueError: if there are rows that were made with others.
            BlockingIOError: if another process is at work here.
            OSError: if the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise BlockingIOError(
                f"another process is at work in {self.folder}; wait for its end"
            ) from error
        before, num_rows = self._before()
        if before not in (None, settings) and not overwrite:
            raise ValueError(
                f"{self.folder} holds a part of what was asked for with other "
                f"settings: {_differences(before, settings)}. Give those again "
                "to go on, or --overwrite to begin anew"
            )
        self.num_rows = num_rows if before == settings else 0
        self._settings = settings
        self._write_state()

    def append(self, rows):
        """Keeps further rows: array of `dtype`."""
        with open(self.folder / _ROWS, "ab") as file:
            file.truncate(self.num_rows * self.dtype.itemsize)
            file.write(rows.tobytes())
            file.flush()
            # Else a power cut could keep the count but not the rows.
            os.fsync(file.fileno())
        self.num_rows += len(rows)
        self._write_state()

    def chunks(self, size):
        """Yields (number of the first row, `size` rows or what is left).

        Each is mapped for itself: pages of one that is done with are freed.
        """
        for start in range(0, self.num_rows, size):
            yield (
                start,
                np.memmap(
                    self.folder / _ROWS,
                    self.dtype,
                    "r",
                    offset=start * self.dtype.itemsize,
                    shape=min(size, self.num_rows - start),
                ),
            )

    def release(self):
        """Lets other processes in."""
        self._lock.release()

    def delete(self):
        """Deletes the folder."""
        shutil.rmtree(self.folder)

    def _write_state(self):
        state = {"settings": self._settings, "num_rows": self.num_rows}
        run_files.write_json(self.folder / _STATE, state)

    def _before(self):
        """(settings, number of rows) of an earlier process; (None, 0)."""
        try:
            state = run_files.read_json(self.folder / _STATE)
            size = os.path.getsize(self.folder / _ROWS)
        except (FileNotFoundError, ValueError):
            return None, 0
        if state is None:
            return None, 0
        whole = size // self.dtype.itemsize
        return state["settings"], min(state["num_rows"], whole)


def _differences(before, after):
    return "; ".join(
        f"{name} was {before.get(name)}, now {after.get(name)}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
