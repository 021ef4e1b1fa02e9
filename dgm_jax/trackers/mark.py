"""How far a tracker has come, for tools that cannot be asked."""

import pathlib

from dgm_jax.core import RunDirectoryError
from dgm_jax.store import records

FILE = "last_record.json"


class Mark:
    """`total_step` of the last record, in a file of the tracker's folder.

    It is written before the record is logged: after a kill between the two, the tracker lacks one
    record of metrics.jsonl, and never has one twice.

    Args:
        folder: of the tracker; it is made.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir(exist_ok=True)
        self._file = folder / FILE

    def read(self) -> int:
        """The last record.

        Returns:
            Its `total_step`; -1 if there is none.
        """
        if not self._file.exists():
            return -1
        last = records.read_json(self._file).get("total_step")
        if not isinstance(last, int):
            raise RunDirectoryError(f"{self._file}: total_step is no integer")
        return last

    def write(self, total_step: int) -> None:
        """Note a record.

        Args:
            total_step: of the record.
        """
        records.write_atomically(self._file, f'{{"total_step": {total_step}}}\n')
