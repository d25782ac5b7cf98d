"""The deduplication window: a hash table of 16-byte keys that remembers which segment brought each of them.

Keys come and go by whole segments: a key counts while its segment's watermark is not older than the window.

Keys lie in numpy arrays (two words, and a tag: 20 bytes a slot), 27 to 32 bytes a key where a set takes 98. In C
(`core.native`) a page's keys are looked up and entered at once. In Python alone, what the open segment brings stays in
a plain set first, which answers a page of keys at C speed, and is entered into the arrays by thousands, so that numpy's
fixed cost a call is paid for all of them; a page only asks the arrays whether they know any of its keys.

The arrays are buckets of sixteen slots. A full bucket overflows into the next one, and says so. Forgotten keys stay in
their slots until an insertion or the next rebuilding takes the place. Leaves, chosen by a key's top bits, grow and
split one by one, so no growth copies more than a leaf.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vortex.core.native import native
from vortex.core.radix import stable_order

KEY_BYTES = 16
_BUCKET = 16
_SMALLEST = 32
_LEAF_LIMIT = 1 << 20
"""Slots of a leaf at most: 21 MiB, which are held twice while it is rebuilt or split, and nothing else goes on."""
_DEEPEST = 16
"""Bits that tell leaves apart at most: 60,000 million keys, if they are as even as hashes are."""
_FULL = 0.90
_AFTER_GROWTH = 0.64
_SMALL = 1 << 15
"""Keys below which a leaf more than doubles: growing is what insertions cost most, and small leaves are cheap."""
_MAPPED = 1 << 18
"""Bytes from which a leaf has a mapping of its own."""
_HUGE = 1 << 21
"""Bytes of a huge page, and where one begins."""
_YOUNG = 1 << 13
"""Keys that the set of the open segment holds at most: under 1 MiB."""
_KEY_OBJECT = sys.getsizeof(b"\0" * KEY_BYTES)
_U64 = np.uint64

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
Tags = NDArray[np.uint32]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


def _zeroed(size: int) -> Octets:
    """`size` zeroed bytes that the system has back once the array is gone.

    Of what it frees the C library keeps everything below 32 MiB, and the next leaf, a larger one, finds no room in it:
    a window that had grown to 3.6 million keys held 49 bytes a key, where its tables have 30.

    Whole huge pages are asked for as such (madvise(2), transparent huge pages): keys lie anywhere in a table, and
    nearly every look-up would miss the processor's table of small pages, too.
    """
    if size < _MAPPED:
        return np.zeros(size, dtype=np.uint8)
    memory = mmap.mmap(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(memory, dtype=np.uint8)
    begin, whole = -array.ctypes.data % _HUGE, size // _HUGE * _HUGE
    if whole and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel built without them; small pages do as well
            memory.madvise(mmap.MADV_HUGEPAGE, begin, whole)
    return array[begin : begin + size]


def words_of(keys: bytes) -> tuple[Words, Words]:
    """`keys` (n times 16 bytes) as two columns: the word that places a key, and the rest of it."""
    table = np.frombuffer(keys, dtype="<u8").reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])


def _slots_for(keys: int) -> int:
    """The slots of a new leaf for so many keys."""
    load = _AFTER_GROWTH if keys > _SMALL else _AFTER_GROWTH / 2
    return max(_SMALLEST, int(keys / load / _BUCKET) + 1) * _BUCKET


class _Leaf:
    """One table of buckets. A slot is free where its tag is 0 or names a forgotten segment.

    A key lies in its home bucket or, where that was full, in a following one; a bucket that sent keys on is `over`.
    """

    def __init__(self, keys: int, depth: int) -> None:
        slots = _slots_for(keys)
        buckets = slots // _BUCKET
        memory = _zeroed(slots * (8 + 8 + 4) + buckets * (4 + 1))
        words, rest = memory[: 16 * slots].view(np.uint64), memory[16 * slots :]
        numbers = rest[:-buckets].view(np.uint32)
        self.high, self.low = words.reshape(2, buckets, _BUCKET)
        self.tag = numbers[:slots].reshape(buckets, _BUCKET)
        self.turn = numbers[slots:]
        self.over = rest[-buckets:].view(np.bool_)
        self.taken = 0
        """Slots that hold a key, known or forgotten."""
        self.turned = 0
        """Keys inserted since the leaf was built: what it says of overflows grows stale with them."""
        self.depth = depth

    @property
    def slots(self) -> int:
        return self.tag.size

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in (self.high, self.low, self.tag, self.over, self.turn))

    def home(self, high: Words) -> Index:
        # The top bits choose the leaf, so the place within it is taken from the bits below them.
        middle = (high >> _U64(8)) & _U64(0xFFFFFFFF)
        return ((middle * _U64(len(self.over))) >> _U64(32)).view(np.int64)

    def has(self, high: Words, low: Words, live: Bools) -> Bools:
        """True for each key that a live segment brought."""
        found = np.zeros(len(high), dtype=np.bool_)
        at = self.home(high)
        who: Index | None = None  # all of them, as long as it is None
        while True:
            match = self.high.take(at, axis=0) == high[:, None]
            if match.any():
                rows, columns = np.nonzero(match)
                slots = at[rows] * _BUCKET + columns
                same = (self.low.reshape(-1)[slots] == low[rows]) & live[self.tag.reshape(-1)[slots]]
                found[rows[same] if who is None else who[rows[same]]] = True
            on = np.flatnonzero(self.over.take(at))
            if not len(on):
                return found
            who = on if who is None else who[on]
            at, high, low = (at[on] + 1) % len(self.over), high[on], low[on]

    def insert(self, high: Words, low: Words, tags: Tags, live: Bools) -> None:
        """Enter keys that are distinct and not there; there must be room for them."""
        flat_tags = self.tag.reshape(-1)
        self.turned += len(high)
        at = self.home(high)
        while len(at):
            alive = live.take(self.tag.take(at, axis=0))
            full: Bools = np.logical_and.reduce(alive, axis=1)
            # Of several keys that want into one bucket, the last one written here goes first.
            number = np.arange(len(at), dtype=np.uint32)
            self.turn[at] = number
            first = (self.turn.take(at) == number) & ~full
            slots = (at * _BUCKET + alive.argmin(axis=1))[first]
            self.taken += int(np.count_nonzero(flat_tags[slots] == 0))
            self.high.reshape(-1)[slots] = high[first]
            self.low.reshape(-1)[slots] = low[first]
            flat_tags[slots] = tags[first]
            self.over[at[full]] = True
            left = np.flatnonzero(~first)
            at = (at[left] + full[left]) % len(self.over)
            high, low, tags = high[left], low[left], tags[left]

    def build(self, high: Words, low: Words, tags: Tags, live: Bools) -> None:
        """Fill the empty leaf with distinct keys at once: in order of home, each in the first slot left."""
        home = self.home(high)
        order = stable_order(home)
        home, number = home[order], np.arange(len(high))
        slots = np.maximum.accumulate(home * _BUCKET - number) + number
        inside = int(np.searchsorted(slots, self.slots))
        placed, who = slots[:inside], order[:inside]
        self.high.reshape(-1)[placed] = high[who]
        self.low.reshape(-1)[placed] = low[who]
        self.tag.reshape(-1)[placed] = tags[who]
        self.taken = inside
        at, end = home[:inside], placed // _BUCKET
        while len(on := np.flatnonzero(at < end)):  # every bucket that a key passed on its way is over
            at, end = at[on], end[on]
            self.over[at] = True
            at = at + 1
        if inside < len(order):  # the last buckets' overflow goes round to the first
            left = order[inside:]
            self.insert(high[left], low[left], tags[left], live)

    def living(self, live: Bools, tags: Tags) -> tuple[Words, Words, Tags]:
        """The keys that count, with their tags; `tags` are the leaf's, or 0 for keys to be left out."""
        keep = live[tags]
        return self.high[keep], self.low[keep], tags[keep]

    def moved(self, live: Bools, tags: Tags, keys: int, depth: int) -> _Leaf:
        """A new leaf for so many `keys`, with what `living` finds."""
        leaf = _Leaf(keys, depth)
        if native is not None:
            leaf.taken = native.rehash(self.high, self.low, tags, live, leaf.high, leaf.low, leaf.tag, leaf.over)
        else:
            leaf.build(*self.living(live, tags), live)
        return leaf


class Window:
    """Which keys were seen, by segment. `claim` and `load` are the ways in, `forget` the only way out."""

    def __init__(self, expected: int = 0) -> None:
        """`expected`: how many keys are about to be loaded, so that nothing has to grow meanwhile."""
        self._bits = max(0, (int(expected / _AFTER_GROWTH) // _LEAF_LIMIT).bit_length())
        leaves = 1 << self._bits
        self._directory = [_Leaf(int(expected / leaves * 1.02), self._bits) for _ in range(leaves)]
        """The leaf of each value of a key's top `_bits` bits; a leaf of lesser depth stands several times."""
        self._live = np.zeros(256, dtype=np.bool_)
        self._counts: dict[int, int] = {}
        self._next = 1
        self._young: set[bytes] = set()
        self._young_tag = 0

    def __len__(self) -> int:
        return sum(self._counts.values())

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the tables and the open segment's set hold."""
        leaves = {id(leaf): leaf for leaf in self._directory}.values()
        young = sys.getsizeof(self._young) + _KEY_OBJECT * len(self._young)
        return sum(leaf.nbytes for leaf in leaves) + self._live.nbytes + young

    def open_segment(self) -> int:
        """A tag for a new segment; its keys are live at once."""
        tag = self._next
        self._next += 1
        if tag >= len(self._live):
            self._live = np.concatenate((self._live, np.zeros(len(self._live), dtype=np.bool_)))
        self._live[tag] = True
        self._counts[tag] = 0
        return tag

    def claim(self, tag: int, keys: bytes) -> Bools:
        """Enter `keys` (16 bytes each) under `tag`; for each, whether it was new. Of equal keys the first is."""
        if native is not None:
            return self._claim_at_once(tag, keys)
        several = np.frombuffer(keys, dtype=f"V{KEY_BYTES}").tolist()
        return np.array(self._claim_young(tag, several), dtype=np.bool_)

    def _claim_at_once(self, tag: int, keys: bytes) -> Bools:
        assert native is not None
        self._make_room(words_of(keys)[0])
        new = np.zeros(len(keys) // KEY_BYTES, dtype=np.bool_)
        tables = [(leaf.high, leaf.low, leaf.tag, leaf.over) for leaf in self._directory]
        answers = native.claim(keys, tables, self._live, new, tag)
        for leaf, (taken, entered) in zip(self._directory, answers, strict=True):
            leaf.taken += taken
            leaf.turned += entered
            self._counts[tag] += entered
        return new

    def _claim_young(self, tag: int, keys: Sequence[bytes]) -> list[bool]:
        if tag != self._young_tag or len(self._young) >= _YOUNG:
            self._settle()
            self._young_tag = tag
        young, before = self._young, len(self._young)
        seen = self._known(b"".join(keys))
        if not seen.any() and young.isdisjoint(keys):
            young.update(keys)
            if len(young) == before + len(keys):
                new = [True] * len(keys)
            else:
                young.difference_update(keys)
                new = self._one_by_one(keys, [False] * len(keys))
        else:
            new = self._one_by_one(keys, seen.tolist())
        self._counts[tag] += len(young) - before
        return new

    def _one_by_one(self, keys: Sequence[bytes], seen: Sequence[bool]) -> list[bool]:
        young, new = self._young, []
        for key, known in zip(keys, seen, strict=True):
            fresh = not known and key not in young
            if fresh:
                young.add(key)
            new.append(fresh)
        return new

    def load(self, keys: bytes) -> int:
        """A new segment holding `keys` (16 bytes each); its tag. For rebuilding from a log, youngest segment first: a
        key that two merged parents brought stays with the one that is forgotten last.
        """
        tag = self.open_segment()
        if native is not None:
            self.claim(tag, keys)
            return tag
        unknown = np.flatnonzero(~self._known(keys))
        table = np.frombuffer(keys, dtype=f"V{KEY_BYTES}")[unknown]
        self._enter(tag, table.tobytes())
        self._counts[tag] = len(table)
        return tag

    def contains(self, keys: Sequence[bytes]) -> list[bool]:
        """For each key, whether a live segment brought it."""
        self._settle()
        answer: list[bool] = self._known(b"".join(keys)).tolist()
        return answer

    def keys_of(self, tags: Iterable[int]) -> set[bytes]:
        """All keys that these segments brought."""
        self._settle()
        wanted, found = list(tags), set()
        for leaf in {id(leaf): leaf for leaf in self._directory}.values():
            high, low, its = leaf.living(self._live, leaf.tag)
            chosen = np.isin(its, wanted)
            table = np.stack((high[chosen], low[chosen]), axis=1).tobytes()
            found |= {table[at : at + KEY_BYTES] for at in range(0, len(table), KEY_BYTES)}
        return found

    def forget(self, tags: Iterable[int]) -> None:
        """From now on the keys of these segments are unknown."""
        for tag in tags:
            if tag == self._young_tag:
                self._young.clear()
            self._live[tag] = False
            del self._counts[tag]

    # The arrays.

    def _settle(self) -> None:
        """Move the open segment's keys into the arrays."""
        if self._young:
            self._enter(self._young_tag, b"".join(self._young))
            self._young.clear()

    def _known(self, keys: bytes) -> Bools:
        """Which keys the arrays know."""
        high, low = words_of(keys)
        if self._bits == 0:
            return self._directory[0].has(high, low, self._live)
        found = np.zeros(len(high), dtype=np.bool_)
        for number, mine in self._shares(high):
            found[mine] = self._directory[number].has(high[mine], low[mine], self._live)
        return found

    def _enter(self, tag: int, keys: bytes) -> None:
        """Insert distinct keys that the arrays do not know."""
        high, low = words_of(keys)
        self._make_room(high)
        tags = np.full(len(high), tag, dtype=np.uint32)
        for number, mine in self._shares(high):
            self._directory[number].insert(high[mine], low[mine], tags[mine], self._live)

    def _make_room(self, high: Words) -> None:
        """Renew the leaves that these keys would make too full. Of one that was split a half may be so still."""
        split = True
        while split:
            more: Counter[_Leaf] = Counter()
            shares = np.bincount(self._places(high), minlength=len(self._directory)).tolist()
            for leaf, keys in zip(self._directory, shares, strict=True):
                more[leaf] += keys
            split = False
            for leaf, keys in more.items():
                if leaf.taken + keys > _FULL * leaf.slots or leaf.turned > leaf.slots:
                    split |= self._renew(leaf, keys)

    def _renew(self, leaf: _Leaf, more: int) -> bool:
        """Put a leaf without what is forgotten, and with room for `more` keys, in this one's place; or two, if it would
        be too large. Whether it was two.
        """
        keys = int(np.count_nonzero(self._live[leaf.tag])) + more
        if split := _slots_for(keys) > _LEAF_LIMIT and leaf.depth < _DEEPEST:
            self._split(leaf)
        else:
            new = leaf.moved(self._live, leaf.tag, keys, leaf.depth)
            self._directory = [new if old is leaf else old for old in self._directory]
        return split

    def _places(self, high: Words) -> Index:
        """Where in the directory each key belongs."""
        if self._bits == 0:
            return np.zeros(len(high), dtype=np.int64)
        return (high >> _U64(64 - self._bits)).view(np.int64)

    def _shares(self, high: Words) -> list[tuple[int, Index]]:
        """The keys of each place in the directory, as (place, indices)."""
        places = self._places(high)
        order = stable_order(places)
        ends = np.searchsorted(places[order], np.arange(len(self._directory) + 1))
        return [(n, order[ends[n] : ends[n + 1]]) for n in range(len(self._directory)) if ends[n] < ends[n + 1]]

    def _split(self, leaf: _Leaf) -> None:
        if leaf.depth == self._bits:
            self._directory = [old for old in self._directory for _ in (0, 1)]
            self._bits += 1
        depth = leaf.depth + 1
        upper = (leaf.high >> _U64(64 - depth)) & _U64(1) == _U64(1)
        halves = []
        for half in (~upper, upper):
            tags = np.where(half, leaf.tag, np.uint32(0))
            halves.append(leaf.moved(self._live, tags, int(np.count_nonzero(self._live[tags])), depth))
        shift = self._bits - depth
        for number, old in enumerate(self._directory):
            if old is leaf:
                self._directory[number] = halves[(number >> shift) & 1]
