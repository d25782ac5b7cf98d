"""The deduplication window: a hash table of 16-byte keys that remembers which segment brought each of them.

Keys come and go by whole segments: a key counts while its segment's watermark is not older than the window. The table
is numpy arrays (a key as two words, and its segment's tag: 20 bytes a slot) in buckets of eight slots, probed for a
page of keys at a time, so that the interpreter's cost is shared by the page and a bucket costs one cache line an array.
A full bucket overflows into the next. Forgotten keys stay in their slots until an insertion or the next growth takes
the place. Leaves, chosen by a key's top bits, grow and split one by one, so no growth copies more than a leaf.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
_BUCKET = 8
_SMALLEST = 64
_LEAF_LIMIT = 1 << 21
"""Slots at which a leaf is split in two: 40 MiB, a tenth of a second to rebuild."""
_FULL = 0.85
_AFTER_GROWTH = 0.62
_SMALL = 1 << 17
"""Keys below which a leaf more than doubles: growing is what insertions cost most, and small leaves are cheap."""
_U64 = np.uint64

Words = NDArray[np.uint64]
Tags = NDArray[np.uint32]
Bools = NDArray[np.bool_]
Index = NDArray[np.intp]


def words_of(keys: bytes) -> tuple[Words, Words]:
    """`keys` (n times 16 bytes) as two columns: the word that places a key, and the rest of it."""
    table = np.frombuffer(keys, dtype="<u8").reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


class _Leaf:
    """One table of buckets. A slot is free where its tag is 0 or names a forgotten segment.

    A key lies in its home bucket or, where that was full, in a following one; a bucket with a tag 0 ends the way.
    """

    def __init__(self, keys: int, depth: int) -> None:
        load = _AFTER_GROWTH if keys > _SMALL else _AFTER_GROWTH / 2
        buckets = max(_SMALLEST, int(keys / load / _BUCKET) + 1)
        self.high = np.zeros((buckets, _BUCKET), dtype=np.uint64)
        self.low = np.zeros((buckets, _BUCKET), dtype=np.uint64)
        self.tag = np.zeros((buckets, _BUCKET), dtype=np.uint32)
        self.used = 0
        self.depth = depth

    @property
    def slots(self) -> int:
        return self.tag.size

    def home(self, high: Words) -> Index:
        # The top bits choose the leaf, so the place within it is taken from the bits below them.
        middle = (high >> _U64(8)) & _U64(0xFFFFFFFF)
        return ((middle * _U64(len(self.tag))) >> _U64(32)).astype(np.intp)

    def build(self, high: Words, low: Words, tags: Tags) -> None:
        """Fill the empty leaf with distinct keys at once: in order of home, each in the first slot left."""
        home = self.home(high)
        order = np.argsort(home)
        count = np.arange(len(high), dtype=np.intp)
        slot = np.maximum.accumulate(home[order] * _BUCKET - count) + count
        inside = slot < self.slots
        into, who = slot[inside], order[inside]
        self.high.reshape(-1)[into] = high[who]
        self.low.reshape(-1)[into] = low[who]
        self.tag.reshape(-1)[into] = tags[who]
        self.used = len(who)
        for left in order[~inside]:  # the last buckets' overflow goes round to the first
            free = np.flatnonzero(self.tag.reshape(-1) == 0)[0]
            self.high.reshape(-1)[free], self.low.reshape(-1)[free] = high[left], low[left]
            self.tag.reshape(-1)[free] = tags[left]
            self.used += 1

    def claim(self, high: Words, low: Words, tag: int, live: Bools) -> Bools:
        """Insert what is not there; True for each key that was new. Equal keys within the call: the first is new."""
        new = np.zeros(len(high), dtype=np.bool_)
        home = self.home(high)
        bucket = home.copy()
        spot = np.full(len(high), -1, dtype=np.intp)  # the first free slot on a key's way
        todo = np.arange(len(high), dtype=np.intp)
        while len(todo):
            at = bucket[todo]
            tags = self.tag.take(at, axis=0)
            alive = live.take(tags)
            same = self._same(at, high[todo], low[todo], alive)
            first = alive.argmin(axis=1)
            unset = (spot[todo] < 0) & ~alive.all(axis=1)
            spot[todo[unset]] = at[unset] * _BUCKET + first[unset]
            ended = (tags == 0).any(axis=1)
            if same is not None:
                todo, ended = todo[~same], ended[~same]
            asking = todo[ended]
            placed = self._place(asking, spot, high, low, tag, live)
            new[asking[placed]] = True
            # The slot of a loser was taken, perhaps by its equal: it looks again from its home.
            losers = asking[~placed]
            bucket[losers] = home[losers]
            spot[losers] = -1
            walking = todo[~ended]
            bucket[walking] = (bucket[walking] + 1) % len(self.tag)
            todo = np.concatenate((walking, losers))
        return new

    def has(self, high: Words, low: Words, live: Bools) -> Bools:
        """True for each key that a live segment brought."""
        found = np.zeros(len(high), dtype=np.bool_)
        bucket = self.home(high)
        todo = np.arange(len(high), dtype=np.intp)
        while len(todo):
            at = bucket[todo]
            tags = self.tag.take(at, axis=0)
            same = self._same(at, high[todo], low[todo], live.take(tags))
            going = (tags != 0).all(axis=1)
            if same is not None:
                found[todo[same]] = True
                going &= ~same
            todo = todo[going]
            bucket[todo] = (bucket[todo] + 1) % len(self.tag)
        return found

    def _same(self, at: Index, high: Words, low: Words, alive: Bools) -> Bools | None:
        """Which keys lie in their bucket `at`; None for none, the ordinary case."""
        match = (self.high.take(at, axis=0) == high[:, None]) & alive
        if not match.any():
            return None
        rows, columns = np.nonzero(match)
        equal = self.low[at[rows], columns] == low[rows]
        same = np.zeros(len(at), dtype=np.bool_)
        same[rows[equal]] = True
        return same

    def _place(self, who: Index, spot: Index, high: Words, low: Words, tag: int, live: Bools) -> Bools:
        """Write the keys whose slot is still free (another may have taken it since) and wanted by none before them."""
        wanted = spot[who]
        order = np.argsort(who)
        _, firsts = np.unique(wanted[order], return_index=True)
        placed = np.zeros(len(who), dtype=np.bool_)
        placed[order[firsts]] = True
        flat = self.tag.reshape(-1)
        placed &= ~live[flat[wanted]]
        at, chosen = wanted[placed], who[placed]
        self.used += int(np.count_nonzero(flat[at] == 0))
        self.high.reshape(-1)[at] = high[chosen]
        self.low.reshape(-1)[at] = low[chosen]
        flat[at] = tag
        return placed

    def living(self, live: Bools) -> tuple[Words, Words, Tags]:
        keep = live[self.tag]
        return self.high[keep], self.low[keep], self.tag[keep]


class Window:
    """Which keys were seen, by segment. `claim` and `load` are the ways in, `forget` the only way out."""

    def __init__(self) -> None:
        self._bits = 0
        self._directory = [_Leaf(0, 0)]
        """The leaf of each value of a key's top `_bits` bits; a leaf of lesser depth stands several times."""
        self._live = np.zeros(256, dtype=np.bool_)
        self._counts: dict[int, int] = {}
        self._next = 1

    def __len__(self) -> int:
        return sum(self._counts.values())

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the tables hold."""
        leaves = {id(leaf): leaf for leaf in self._directory}.values()
        return sum(leaf.high.nbytes + leaf.low.nbytes + leaf.tag.nbytes for leaf in leaves) + self._live.nbytes

    def open_segment(self) -> int:
        """A tag for a new segment; its keys are live at once."""
        tag = self._next
        self._next += 1
        if tag >= len(self._live):
            self._live = np.concatenate((self._live, np.zeros(len(self._live), dtype=np.bool_)))
        self._live[tag] = True
        self._counts[tag] = 0
        return tag

    def contains(self, keys: bytes) -> list[bool]:
        """For each key, whether a live segment brought it."""
        high, low = words_of(keys)
        owner = (high >> _U64(64 - self._bits)).astype(np.intp) if self._bits else np.zeros(len(high), dtype=np.intp)
        found = np.zeros(len(high), dtype=np.bool_)
        for number in np.unique(owner).tolist():
            mine = np.flatnonzero(owner == number)
            found[mine] = self._directory[number].has(high[mine], low[mine], self._live)
        answer: list[bool] = found.tolist()
        return answer

    def forget(self, tags: Iterable[int]) -> None:
        """From now on the keys of these segments are unknown."""
        for tag in tags:
            self._live[tag] = False
            del self._counts[tag]

    def claim(self, tag: int, keys: bytes) -> list[bool]:
        """Enter `keys` (16 bytes each) under `tag`; for each, whether it was new. Of equal keys the first is."""
        high, low = words_of(keys)
        answer: list[bool] = self._claim_words(tag, high, low).tolist()
        return answer

    def load(self, keys: bytes) -> int:
        """A new segment holding `keys`; its tag. For rebuilding from a log, youngest segment first: a key that two
        merged parents brought stays with the one that is forgotten last.
        """
        tag = self.open_segment()
        high, low = words_of(keys)
        step = 16_384
        for begin in range(0, len(high), step):
            self._claim_words(tag, high[begin : begin + step], low[begin : begin + step])
        return tag

    def _claim_words(self, tag: int, high: Words, low: Words) -> Bools:
        if self._bits == 0:
            new = self._claim_in(0, tag, high, low)
        else:
            new = np.zeros(len(high), dtype=np.bool_)
            owner = (high >> _U64(64 - self._bits)).astype(np.intp)
            for number in np.unique(owner).tolist():
                mine = np.flatnonzero(owner == number)
                new[mine] = self._claim_in(number, tag, high[mine], low[mine])
        self._counts[tag] += int(np.count_nonzero(new))
        self._split_large()
        return new

    def _claim_in(self, number: int, tag: int, high: Words, low: Words) -> Bools:
        leaf = self._directory[number]
        if leaf.used + len(high) > _FULL * leaf.slots:
            leaf = self._rebuild(leaf, len(high))
        return leaf.claim(high, low, tag, self._live)

    def _rebuild(self, leaf: _Leaf, more: int) -> _Leaf:
        """A larger leaf in the old one's places, without what is forgotten, with room for `more` keys."""
        high, low, tags = leaf.living(self._live)
        larger = _Leaf(len(high) + more, leaf.depth)
        larger.build(high, low, tags)
        self._directory = [larger if old is leaf else old for old in self._directory]
        return larger

    def _split_large(self) -> None:
        for leaf in {id(leaf): leaf for leaf in self._directory if leaf.slots > _LEAF_LIMIT}.values():
            self._split(leaf)

    def _split(self, leaf: _Leaf) -> None:
        if leaf.depth == self._bits:
            self._directory = [old for old in self._directory for _ in (0, 1)]
            self._bits += 1
        high, low, tags = leaf.living(self._live)
        depth = leaf.depth + 1
        upper = (high >> _U64(64 - depth)) & _U64(1) == _U64(1)
        halves = []
        for half in (~upper, upper):
            halves.append(_Leaf(int(np.count_nonzero(half)), depth))
            halves[-1].build(high[half], low[half], tags[half])
        shift = self._bits - depth
        for number, old in enumerate(self._directory):
            if old is leaf:
                self._directory[number] = halves[(number >> shift) & 1]
