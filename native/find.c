/* Looks up keys in sorted keys, as vortex/core/dedup/index.py: with the keys, or with three bytes of each. */

#include "native.h"

#define FINGERPRINT 3
#define PRINT_BITS 24
#define MANY 8

typedef struct {
    const uint64_t *high, *low;
    size_t count;
} Keys;

static inline int is_less(const Keys *keys, size_t at, uint64_t high, uint64_t low)
{
    return keys->high[at] != high ? keys->high[at] < high : keys->low[at] < low;
}

/* The first index from `from` whose key is not smaller: doubles the step, then bisects. */
static size_t not_less(const Keys *keys, size_t from, uint64_t high, uint64_t low)
{
    size_t step = 1, at = from, end;
    while (at < keys->count && is_less(keys, at, high, low)) {
        from = at + 1;
        at += step;
        step *= 2;
    }
    end = at < keys->count ? at : keys->count;
    while (from < end) {
        size_t middle = from + (end - from) / 2;
        if (is_less(keys, middle, high, low))
            from = middle + 1;
        else
            end = middle;
    }
    return from;
}

/* For few probes: each is sought from the place of the last one on. */
static void seek(const Keys *keys, const Keys *probes, int64_t *place)
{
    for (size_t row = 0, at = 0; row < probes->count; row++) {
        uint64_t high = probes->high[row], low = probes->low[row];
        at = not_less(keys, at, high, low);
        place[row] = at < keys->count && keys->high[at] == high && keys->low[at] == low ? (int64_t)at : -1;
    }
}

/* For many probes: both sides are walked through once. Which side is next is a coin toss, so that is no branch. */
static void merge(const Keys *keys, const Keys *probes, int64_t *place)
{
    size_t row = 0, at = 0;
    while (row < probes->count && at < keys->count) {
        uint64_t key = keys->high[at], probe = probes->high[row];
        size_t is_smaller = key < probe;
        if (key == probe) {
            if (keys->low[at] == probes->low[row]) {
                place[row++] = (int64_t)at;
                continue;
            }
            is_smaller = keys->low[at] < probes->low[row];
        }
        place[row] = -1;
        at += is_smaller;
        row += 1 - is_smaller;
    }
    for (; row < probes->count; row++)
        place[row] = -1;
}

/* find(high, low, probe_high, probe_low, places): sorted; for each probe the index of the first equal key, or -1. */
PyObject *native_find(PyObject *module, PyObject *args)
{
    enum { HIGH, LOW, PROBE_HIGH, PROBE_LOW, PLACES, BUFFERS };
    Py_buffer of[BUFFERS];
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*", &of[HIGH], &of[LOW], &of[PROBE_HIGH], &of[PROBE_LOW], &of[PLACES]))
        return NULL;
    int good = of[HIGH].len == of[LOW].len && of[PROBE_HIGH].len == of[PROBE_LOW].len &&
               of[PROBE_HIGH].len == of[PLACES].len;
    if (good) {
        Keys keys = {of[HIGH].buf, of[LOW].buf, (size_t)of[HIGH].len / 8};
        Keys probes = {of[PROBE_HIGH].buf, of[PROBE_LOW].buf, (size_t)of[PLACES].len / 8};
        Py_BEGIN_ALLOW_THREADS;
        (probes.count < keys.count / MANY ? seek : merge)(&keys, &probes, of[PLACES].buf);
        Py_END_ALLOW_THREADS;
    } else {
        PyErr_SetString(PyExc_ValueError, "find: arrays of inconsistent lengths");
    }
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&of[buffer]);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}

static inline uint32_t print_at(const uint8_t *prints, uint32_t at)
{
    const uint8_t *entry = prints + FINGERPRINT * (size_t)at;
    return entry[0] | (uint32_t)entry[1] << 8 | (uint32_t)entry[2] << 16;
}

/* The first index in the probe's bucket with its fingerprint, or -1. Prints are distributed evenly and sorted within a
   bucket, so the search begins where the print should be. */
static inline int64_t place_of(const uint32_t *begins, const uint8_t *prints, uint64_t bucket, uint32_t print)
{
    uint32_t begin = begins[bucket], end = begins[bucket + 1];
    uint32_t at = begin + (uint32_t)((uint64_t)(end - begin) * print >> PRINT_BITS);
    while (at < end && print_at(prints, at) < print)
        at++;
    while (at > begin && print_at(prints, at - 1) >= print)
        at--;
    return at < end && print_at(prints, at) == print ? (int64_t)at : -1;
}

/* maybe(begins, prints, probes, places): a probe is a bucket number and, in its low 24 bits, a fingerprint. */
PyObject *native_maybe(PyObject *module, PyObject *args)
{
    Py_buffer begins, prints, probes, places;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &begins, &prints, &probes, &places))
        return NULL;
    size_t buckets = (size_t)begins.len / 4, probed = (size_t)probes.len / 8;
    const uint32_t *begin = begins.buf;
    const uint64_t *probe = probes.buf;
    int64_t *place = places.buf;
    int good = buckets-- && (size_t)places.len == 8 * probed && FINGERPRINT * (size_t)begin[buckets] == (size_t)prints.len;
    for (size_t at = 0; good && at < buckets; at++)
        good = begin[at] <= begin[at + 1];
    for (size_t row = 0; good && row < probed; row++)
        good = probe[row] >> PRINT_BITS < buckets;
    if (good) {
        Py_BEGIN_ALLOW_THREADS;
        for (size_t row = 0; row < probed; row++)
            place[row] = place_of(begin, prints.buf, probe[row] >> PRINT_BITS, probe[row] & 0xFFFFFF);
        Py_END_ALLOW_THREADS;
    } else {
        PyErr_SetString(PyExc_ValueError, "maybe: arrays of inconsistent lengths");
    }
    PyBuffer_Release(&begins);
    PyBuffer_Release(&prints);
    PyBuffer_Release(&probes);
    PyBuffer_Release(&places);
    if (!good)
        return NULL;
    Py_RETURN_NONE;
}
