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

/* A leaf as it stands in the directory, and what became of the keys that belong there. */
typedef struct {
    Py_buffer of[4];
    Table table;
    int64_t taken, entered;
} Leaf;

static int read_leaf(PyObject *arrays, const Py_buffer *live, Leaf *leaf)
{
    if (!PyTuple_Check(arrays) || PyTuple_Size(arrays) != 4)
        return 0;
    for (int array = 0; array < 4; array++)
        if (PyObject_GetBuffer(PyTuple_GetItem(arrays, array), &leaf->of[array], PyBUF_WRITABLE) < 0)
            return 0;
    leaf->table = (Table){leaf->of[0].buf, leaf->of[1].buf, leaf->of[2].buf, leaf->of[3].buf,
                          (size_t)leaf->of[3].len, live->buf, (size_t)live->len};
    return fits(&leaf->table, leaf->of[0].len, leaf->of[1].len, leaf->of[2].len);
}

static inline size_t leaf_of(uint64_t high, int bits)
{
    return bits ? high >> (64 - bits) : 0;
}

/* The answers of `claim`: for each leaf, how many slots were taken that no key was ever in, and how many keys. */
static PyObject *told_of(const Leaf *leaves, size_t count)
{
    PyObject *answers = PyList_New((Py_ssize_t)count);
    for (size_t at = 0; answers && at < count; at++) {
        PyObject *answer = Py_BuildValue("LL", (long long)leaves[at].taken, (long long)leaves[at].entered);
        if (!answer || PyList_SetItem(answers, (Py_ssize_t)at, answer) < 0) {
            Py_DECREF(answers);
            return NULL;
        }
    }
    return answers;
}

/* Whether there was room for all keys; `fresh` tells which of them were new. Memory is asked for ahead of time: here, and
   not in a function of its own, whose calls gcc 12 leaves out, for to it a prefetch has no effect. */
static int claim_all(Leaf *leaves, int bits, const uint8_t *keys, size_t count, uint32_t mine, uint8_t *fresh)
{
    for (size_t at = 0; at < count; at++) {
        if (at + 8 < count) {
            uint64_t high = word64(keys + 16 * (at + 8));
            const Table *table = &leaves[leaf_of(high, bits)].table;
            size_t bucket = home_of(table, high), slot = bucket * BUCKET;
            __builtin_prefetch(table->high + slot);
            __builtin_prefetch(table->high + slot + 8);
            __builtin_prefetch(table->low + slot);
            __builtin_prefetch(table->low + slot + 8);
            __builtin_prefetch(table->tag + slot);
            __builtin_prefetch(table->over + bucket);
        }
        uint64_t high = word64(keys + 16 * at), low = word64(keys + 16 * at + 8);
        Leaf *leaf = &leaves[leaf_of(high, bits)];
        int answer = claimed(&leaf->table, high, low, mine, &leaf->taken);
        if (answer < 0)
            return 0;
        fresh[at] = answer > 0;
        leaf->entered += answer > 0;
    }
    return 1;
}

/* claim(keys, tables, live, new, mine) -> [(taken, entered), ...] */
PyObject *native_claim(PyObject *module, PyObject *args)
{
    Py_buffer keys, live, new;
    PyObject *tables, *answers = NULL;
    unsigned int mine;
    int bits = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*O!y*w*I", &keys, &PyList_Type, &tables, &live, &new, &mine))
        return NULL;
    size_t count = (size_t)keys.len / 16, width = (size_t)PyList_Size(tables);
    while (bits < 32 && (size_t)1 << bits < width)
        bits++;
    Leaf *leaves = PyMem_Calloc(width + 1, sizeof *leaves);
    int good = leaves && (size_t)1 << bits == width && (size_t)new.len == count && mine > 0 && mine < (size_t)live.len;
    for (size_t at = 0; good && at < width; at++)
        good = read_leaf(PyList_GetItem(tables, (Py_ssize_t)at), &live, &leaves[at]);
    good = good && claim_all(leaves, bits, keys.buf, count, mine, new.buf);
    if (good)
        answers = told_of(leaves, width);
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "claim: arrays that do not belong together, or a table that is full");
    for (size_t at = 0; leaves && at < width; at++)
        for (int array = 0; array < 4; array++)
            PyBuffer_Release(&leaves[at].of[array]);
    PyMem_Free(leaves);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&live);
    PyBuffer_Release(&new);
    return answers;
}
