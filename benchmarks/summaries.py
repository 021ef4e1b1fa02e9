"""What a record says, as numbers with intervals: one row of the table."""

from typing import Any, NamedTuple

from benchmarks import intervals, records
from benchmarks.contract import OURS, PEER
from benchmarks.intervals import Interval


class Row(NamedTuple):
    """One benchmark on one processor.

    Attributes:
        record: what it is read from.
        ours: name of the library's side.
        rate: its units per second.
        peer: the peer with the highest median rate, None without one.
        ratio: to that peer, over rounds.
        peak_share: of the measured peak of products.
        memory_share: of the measured bandwidth of copies.
        peak_bytes: resident memory of our process at most, over what it held when it was imported.
    """

    record: records.Record
    ours: str
    rate: Interval
    peer: str | None
    ratio: Interval | None
    peak_share: float | None
    memory_share: float | None
    peak_bytes: int | None


def row(record: records.Record) -> Row | None:
    """The row of a record; None where none of our sides has samples."""
    ours, peers = records.measured(record, OURS), records.measured(record, PEER)
    if not ours:
        return None
    name = next(iter(ours))
    rates = records.rates(ours[name])
    middle = lambda side: intervals.median(records.rates(side)).value
    peer = max(peers, key=lambda each: middle(peers[each])) if peers else None
    rate = intervals.median(rates)
    return Row(
        record,
        name,
        rate,
        peer,
        None if peer is None else intervals.paired_ratio(rates, records.rates(peers[peer])),
        _share(record.get("flops"), rate.value, peak_of(record, "products")),
        _share(record.get("num_bytes"), rate.value, peak_of(record, "copies")),
        _peak_bytes(ours[name]),
    )


def peak_of(record: records.Record, prefix: str) -> float | None:
    """The highest median among the measured peaks whose name begins so."""
    medians = [
        intervals.median(samples).value
        for name, samples in record.get("peaks", {}).items()
        if name.startswith(prefix) and samples
    ]
    return max(medians, default=None)


def _share(per_unit: float | None, rate: float, peak: float | None) -> float | None:
    return None if per_unit is None or peak is None else per_unit * rate / peak


def _peak_bytes(side: dict[str, Any]) -> int | None:
    memory = side.get("memory", {})
    peak, imported = memory.get("peak"), memory.get("imported")
    return None if peak is None or imported is None else peak - imported
