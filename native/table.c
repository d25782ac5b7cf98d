/* The filter's tables, laid out as in vortex/core/ingest/filter.py: slots of one key each, zero if free. */

#include "native.h"

typedef struct {
    uint64_t *slots; /* two words each */
    size_t count;
} Table;

static inline size_t home_of(const Table *table, const uint64_t key[2])
{
    return (size_t)(((key[0] & 0xFFFFFFFFu) * (uint64_t)table->count) >> 32);
}

/* The slot of the key, or the free slot where it belongs; `count` if there is neither. */
static inline size_t slot_of(const Table *table, const uint64_t key[2])
{
    size_t slot = home_of(table, key);
    for (size_t walked = 0; walked < table->count; walked++) {
        const uint64_t *there = table->slots + 2 * slot;
        if ((there[0] == key[0] && there[1] == key[1]) || (!there[0] && !there[1]))
            return slot;
        if (++slot == table->count)
            slot = 0;
    }
    return table->count;
}

static inline int is_free(const Table *table, size_t slot)
{
    return !table->slots[2 * slot] && !table->slots[2 * slot + 1];
}

static inline void put(Table *table, size_t slot, const uint64_t key[2])
{
    table->slots[2 * slot] = key[0];
    table->slots[2 * slot + 1] = key[1];
}

static int fits(const Py_buffer *slots)
{
    return slots->len > 0 && slots->len % 16 == 0 && (uint64_t)slots->len / 16 <= 0xFFFFFFFFu;
}

/* Adds the keys that are new to `young` and returns their number; -1 if it is full. `fresh` marks them. Memory is
   prefetched here and not in a separate function, since gcc 12 drops such calls. */
static int64_t claim_all(const Table *old, Table *young, const uint8_t *keys, size_t count, uint8_t *fresh)
{
    int64_t entered = 0;
    for (size_t at = 0; at < count; at++) {
        if (at + 8 < count) {
            uint64_t ahead[2] = {word64(keys + 16 * (at + 8)), 0};
            __builtin_prefetch(old->slots + 2 * home_of(old, ahead));
            __builtin_prefetch(young->slots + 2 * home_of(young, ahead));
        }
        uint64_t key[2] = {word64(keys + 16 * at), word64(keys + 16 * at + 8)};
        size_t slot = slot_of(old, key);
        fresh[at] = 0;
        if (slot < old->count && !is_free(old, slot))
            continue;
        slot = slot_of(young, key);
        if (slot == young->count)
            return -1;
        if (!is_free(young, slot))
            continue;
        put(young, slot, key);
        fresh[at] = 1;
        entered++;
    }
    return entered;
}

/* claim(keys, old, young, new) -> how many were added */
PyObject *native_claim(PyObject *module, PyObject *args)
{
    Py_buffer keys, old, young, fresh;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &keys, &old, &young, &fresh))
        return NULL;
    Table before = {old.buf, (size_t)old.len / 16}, now = {young.buf, (size_t)young.len / 16};
    int64_t entered = -1;
    if (fits(&old) && fits(&young) && keys.len % 16 == 0 && fresh.len == keys.len / 16)
        entered = claim_all(&before, &now, keys.buf, (size_t)keys.len / 16, fresh.buf);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&old);
    PyBuffer_Release(&young);
    PyBuffer_Release(&fresh);
    if (entered < 0) {
        PyErr_SetString(PyExc_ValueError, "claim: arrays of inconsistent lengths, or a full table");
        return NULL;
    }
    return PyLong_FromLongLong(entered);
}

/* refill(from, to) -> number of keys copied from one table to another, empty one */
PyObject *native_refill(PyObject *module, PyObject *args)
{
    Py_buffer source, target;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*w*", &source, &target))
        return NULL;
    Table from = {source.buf, (size_t)source.len / 16}, to = {target.buf, (size_t)target.len / 16};
    size_t keys = 0;
    int good = fits(&source) && fits(&target);
    for (size_t slot = 0; good && slot < from.count; slot++) {
        if (is_free(&from, slot))
            continue;
        size_t room = slot_of(&to, from.slots + 2 * slot);
        if (!(good = room < to.count))
            break;
        put(&to, room, from.slots + 2 * slot);
        keys++;
    }
    PyBuffer_Release(&source);
    PyBuffer_Release(&target);
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "refill: arrays that are not tables, or a table that is too small");
        return NULL;
    }
    return PyLong_FromSize_t(keys);
}
