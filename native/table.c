/* The window's table, as vortex/core/window.py lays it out: buckets of sixteen slots, a key as two words and a tag. */

#include "native.h"

#define BUCKET 16

typedef struct {
    uint64_t *high, *low;
    uint32_t *tag;
    uint8_t *over;
    size_t buckets;
    const uint8_t *live; /* by tag */
    size_t tags;
} Table;

static inline size_t home_of(const Table *table, uint64_t high)
{
    return (size_t)((((high >> 8) & 0xFFFFFFFFu) * table->buckets) >> 32);
}

static inline int is_live(const Table *table, size_t slot)
{
    uint32_t tag = table->tag[slot];
    return tag < table->tags && table->live[tag];
}

static int fits(const Table *table, Py_ssize_t high, Py_ssize_t low, Py_ssize_t tag)
{
    size_t slots = table->buckets * BUCKET;
    return slots && (size_t)high == 8 * slots && (size_t)low == 8 * slots && (size_t)tag == 4 * slots;
}

/* Whether the key was new; it then has the first free slot on its way. `taken` grows where that was never used. */
static int claimed(Table *table, uint64_t high, uint64_t low, uint32_t tag, int64_t *taken)
{
    size_t bucket = home_of(table, high), room = SIZE_MAX;
    for (size_t walked = 0; walked < table->buckets; walked++) {
        size_t slot = bucket * BUCKET;
        for (size_t end = slot + BUCKET; slot < end; slot++) {
            if (table->high[slot] == high && table->low[slot] == low && is_live(table, slot))
                return 0;
            if (room == SIZE_MAX && !is_live(table, slot))
                room = slot;
        }
        if (!table->over[bucket]) {
            if (room != SIZE_MAX)
                break;
            table->over[bucket] = 1;
        }
        bucket = bucket + 1 == table->buckets ? 0 : bucket + 1;
    }
    if (room == SIZE_MAX)
        return -1;
    *taken += table->tag[room] == 0;
    table->high[room] = high;
    table->low[room] = low;
    table->tag[room] = tag;
    return 1;
}

/* rehash(high, low, tag, live, to_high, to_low, to_tag, to_over) -> how many keys there are: the live keys of one table
   into an empty other one. Both are in order of home, so that memory is gone through from one end to the other. */
PyObject *native_rehash(PyObject *module, PyObject *args)
{
    enum { HIGH, LOW, TAG, LIVE, TO_HIGH, TO_LOW, TO_TAG, TO_OVER, BUFFERS };
    Py_buffer of[BUFFERS];
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*w*w*w*", &of[HIGH], &of[LOW], &of[TAG], &of[LIVE], &of[TO_HIGH], &of[TO_LOW],
                          &of[TO_TAG], &of[TO_OVER]))
        return NULL;
    Table from = {of[HIGH].buf, of[LOW].buf, of[TAG].buf, NULL, (size_t)of[TAG].len / 4 / BUCKET,
                  of[LIVE].buf, (size_t)of[LIVE].len};
    Table to = {of[TO_HIGH].buf, of[TO_LOW].buf, of[TO_TAG].buf, of[TO_OVER].buf, (size_t)of[TO_OVER].len,
                of[LIVE].buf, (size_t)of[LIVE].len};
    size_t keys = 0;
    int good = fits(&from, of[HIGH].len, of[LOW].len, of[TAG].len) &&
               fits(&to, of[TO_HIGH].len, of[TO_LOW].len, of[TO_TAG].len);
    for (size_t slot = 0; good && slot < to.buckets * BUCKET; slot++)
        good = !to.tag[slot];
    for (size_t slot = 0; good && slot < from.buckets * BUCKET; slot++) {
        if (!is_live(&from, slot))
            continue;
        if (!(good = ++keys <= to.buckets * BUCKET))
            break;
        size_t room = home_of(&to, from.high[slot]) * BUCKET;
        while (to.tag[room]) { /* ends, for there are more slots than keys */
            if (++room % BUCKET)
                continue;
            to.over[room / BUCKET - 1] = 1;
            if (room == to.buckets * BUCKET)
                room = 0;
        }
        to.high[room] = from.high[slot];
        to.low[room] = from.low[slot];
        to.tag[room] = from.tag[slot];
    }
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&of[buffer]);
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "rehash: arrays that do not belong together, or a table that is too small");
        return NULL;
    }
    return PyLong_FromSize_t(keys);
}

/* claim(keys, chosen, high, low, tag, over, live, new, mine) -> taken */
PyObject *native_claim(PyObject *module, PyObject *args)
{
    enum { KEYS, CHOSEN, HIGH, LOW, TAG, OVER, LIVE, NEW, BUFFERS };
    Py_buffer of[BUFFERS];
    unsigned int mine;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*w*w*w*w*y*w*I", &of[KEYS], &of[CHOSEN], &of[HIGH], &of[LOW], &of[TAG], &of[OVER],
                          &of[LIVE], &of[NEW], &mine))
        return NULL;
    Table table = {of[HIGH].buf, of[LOW].buf, of[TAG].buf, of[OVER].buf, (size_t)of[OVER].len,
                   of[LIVE].buf, (size_t)of[LIVE].len};
    size_t count = (size_t)of[CHOSEN].len / 8, keys = (size_t)of[KEYS].len / 16;
    const int64_t *chosen = of[CHOSEN].buf;
    const uint8_t *key = of[KEYS].buf;
    uint8_t *fresh = of[NEW].buf;
    int64_t taken = 0;
    int good = fits(&table, of[HIGH].len, of[LOW].len, of[TAG].len) && (size_t)of[NEW].len == keys &&
               mine < table.tags && mine > 0;
    for (size_t at = 0; good && at < count; at++) {
        if (chosen[at] < 0 || (size_t)chosen[at] >= keys) {
            good = 0;
            break;
        }
        if (at + 8 < count && chosen[at + 8] >= 0 && (size_t)chosen[at + 8] < keys) { /* ask for memory ahead of time */
            size_t bucket = home_of(&table, word64(key + 16 * chosen[at + 8])), slot = bucket * BUCKET;
            __builtin_prefetch(table.high + slot);
            __builtin_prefetch(table.high + slot + 8);
            __builtin_prefetch(table.low + slot);
            __builtin_prefetch(table.low + slot + 8);
            __builtin_prefetch(table.tag + slot);
            __builtin_prefetch(table.over + bucket);
        }
        const uint8_t *this = key + 16 * chosen[at];
        int answer = claimed(&table, word64(this), word64(this + 8), mine, &taken);
        good = answer >= 0;
        fresh[chosen[at]] = answer > 0;
    }
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&of[buffer]);
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "claim: arrays that do not belong together, or a table that is full");
        return NULL;
    }
    return PyLong_FromLongLong(taken);
}
