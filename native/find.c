/* Looks up keys in sorted keys, as vortex/core/dedup/index.py: with the keys, or with three bytes of each. */

#include "native.h"

#define FINGERPRINT 3

typedef struct {
    const uint64_t *high, *low;
    size_t count;
} Keys;

static inline int is_less(const Keys *keys, size_t at, uint64_t high, uint64_t low)
{
    return keys->high[at] != high ? keys->high[at] < high : keys->low[at] < low;
}

/* The first index from `from` whose key is not smaller: doubles the step, then bisects. If both sides are sorted, the
   next index is close, and memory is read sequentially. */
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
        const uint64_t *high = of[PROBE_HIGH].buf, *low = of[PROBE_LOW].buf;
        int64_t *place = of[PLACES].buf;
        size_t probed = (size_t)of[PLACES].len / 8, at = 0;
        Py_BEGIN_ALLOW_THREADS;
        for (size_t row = 0; row < probed; row++) {
            at = not_less(&keys, at, high[row], low[row]);
            int is_there = at < keys.count && keys.high[at] == high[row] && keys.low[at] == low[row];
            place[row] = is_there ? (int64_t)at : -1;
        }
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

/* The first index in the probe's bucket with its fingerprint, or -1. */
static int64_t place_of(const uint32_t *begins, const uint8_t *prints, uint64_t bucket, uint32_t print)
{
    for (uint32_t at = begins[bucket]; at < begins[bucket + 1]; at++) {
        const uint8_t *entry = prints + FINGERPRINT * (size_t)at;
        if ((entry[0] | (uint32_t)entry[1] << 8 | (uint32_t)entry[2] << 16) == print)
            return at;
    }
    return -1;
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
        good = probe[row] >> 24 < buckets;
    if (good) {
        Py_BEGIN_ALLOW_THREADS;
        for (size_t row = 0; row < probed; row++)
            place[row] = place_of(begin, prints.buf, probe[row] >> 24, probe[row] & 0xFFFFFF);
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
