/* Sorts keys, as vortex/core/dedup/index.py: returns indices, and equal keys keep their order. */

#include "native.h"

#define SHORT 16

typedef struct {
    uint64_t high;
    size_t at;
} Entry;

static inline int is_before(const Entry *one, const Entry *other, const uint64_t *low)
{
    return one->high != other->high ? one->high < other->high : low[one->at] < low[other->at];
}

static void insert(Entry *entries, size_t count, const uint64_t *low)
{
    for (size_t next = 1; next < count; next++) {
        Entry entry = entries[next];
        size_t to = next;
        for (; to && is_before(&entry, &entries[to - 1], low); to--)
            entries[to] = entries[to - 1];
        entries[to] = entry;
    }
}

/* Merge sort, so that no keys can make it quadratic. `spare` has room for half of the entries. */
static void sort(Entry *entries, size_t count, const uint64_t *low, Entry *spare)
{
    if (count <= SHORT) {
        insert(entries, count, low);
        return;
    }
    size_t half = count / 2, left = 0, right = half, to = 0;
    sort(entries, half, low, spare);
    sort(entries + half, count - half, low, spare);
    memcpy(spare, entries, half * sizeof *spare);
    while (left < half && right < count)
        entries[to++] = is_before(&entries[right], &spare[left], low) ? entries[right++] : spare[left++];
    memcpy(entries + to, spare + left, (half - left) * sizeof *spare);
}

/* How far to shift what a key exceeds the least key by, so that there are about four keys to a bucket. */
static int shift_for(uint64_t span, size_t count, size_t *buckets)
{
    int shift = 0;
    while (span >> shift > count / 4 + 1)
        shift++;
    *buckets = (size_t)(span >> shift) + 1;
    return shift;
}

/* Keys are distributed evenly, so buckets by their leading bits are small; entries of a bucket are sorted in place. */
static int order(const uint64_t *high, const uint64_t *low, size_t count, int64_t *places)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t at = 0; at < count; at++) {
        least = high[at] < least ? high[at] : least;
        most = high[at] > most ? high[at] : most;
    }
    size_t buckets, largest = 0;
    int shift = shift_for(most - least, count, &buckets);
    size_t *ends = calloc(buckets + 1, sizeof *ends);
    Entry *entries = malloc(count * sizeof *entries), *spare = NULL;
    if (ends && entries) {
        for (size_t at = 0; at < count; at++)
            ends[((high[at] - least) >> shift) + 1]++;
        for (size_t bucket = 1; bucket <= buckets; bucket++) {
            largest = ends[bucket] > largest ? ends[bucket] : largest;
            ends[bucket] += ends[bucket - 1];
        }
        spare = malloc((largest / 2 + 1) * sizeof *spare);
    }
    if (spare) {
        for (size_t at = 0; at < count; at++) /* then ends[b] is the end of bucket b, and not its begin */
            entries[ends[(high[at] - least) >> shift]++] = (Entry){high[at], at};
        for (size_t bucket = 0, begin = 0; bucket < buckets; begin = ends[bucket++])
            sort(entries + begin, ends[bucket] - begin, low, spare);
        for (size_t at = 0; at < count; at++)
            places[at] = (int64_t)entries[at].at;
    }
    int good = spare != NULL;
    free(ends);
    free(entries);
    free(spare);
    return good;
}

/* order(high, low, places): the indices that sort the keys. */
PyObject *native_order(PyObject *module, PyObject *args)
{
    Py_buffer high, low, places;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*w*", &high, &low, &places))
        return NULL;
    int consistent = high.len == low.len && high.len == places.len, sorted = 1;
    if (consistent && high.len) {
        Py_BEGIN_ALLOW_THREADS;
        sorted = order(high.buf, low.buf, (size_t)high.len / 8, places.buf);
        Py_END_ALLOW_THREADS;
    }
    PyBuffer_Release(&high);
    PyBuffer_Release(&low);
    PyBuffer_Release(&places);
    if (!sorted)
        return PyErr_NoMemory();
    if (!consistent) {
        PyErr_SetString(PyExc_ValueError, "order: arrays of inconsistent lengths");
        return NULL;
    }
    Py_RETURN_NONE;
}
