/* Reads the user records of a KPL aggregate (format: vortex/core/decode/kpl.py), in the encoding that the KPL writes.
   Other valid protobuf encodings are left to Python. */

#include "aggregate.h"

enum { KEYS = 0x0A, HASH_KEYS = 0x12, RECORDS = 0x1A };        /* tags of an AggregatedRecord */
enum { KEY_INDEX = 0x08, HASH_KEY_INDEX = 0x10, DATA = 0x1A }; /* tags of a Record */

/* A number below 2^28, which takes at most four bytes; NULL for a longer one. */
static Place number(Place at, Place end, uint32_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 28 && at < end; shift += 7, at++) {
        *out |= (uint32_t)(*at & 0x7F) << shift;
        if (*at < 0x80)
            return at + 1;
    }
    return NULL;
}

/* The data of a record that has a key index, perhaps a hash key index, and data, in this order. */
static Place data_of(Place at, Place end, uint32_t *size)
{
    uint32_t index;
    if (at >= end || *at != KEY_INDEX || !(at = number(at + 1, end, &index)))
        return NULL;
    if (at < end && *at == HASH_KEY_INDEX && !(at = number(at + 1, end, &index)))
        return NULL;
    if (at >= end || *at != DATA || !(at = number(at + 1, end, size)))
        return NULL;
    return (size_t)(end - at) == *size ? at : NULL;
}

Place aggregate_field(Place at, Place end, Place *data, uint32_t *size)
{
    uint32_t whole;
    uint8_t tag = *at;
    Place from = number(at + 1, end, &whole);
    *data = NULL;
    if (!from || (size_t)(end - from) < whole || (tag != KEYS && tag != HASH_KEYS && tag != RECORDS))
        return NULL;
    if (tag == RECORDS && !(*data = data_of(from, from + whole, size)))
        return NULL;
    return from + whole;
}

/* aggregate(data, begin, end, most) -> the user records in the protobuf between these offsets, at most `most` + 1 of
   them; None if Python has to read it. */
PyObject *native_aggregate(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t begin, end, most, count = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*nnn", &data, &begin, &end, &most))
        return NULL;
    int good = begin >= 0 && begin <= end && end <= data.len;
    Place at = (Place)data.buf + (good ? begin : 0), behind = (Place)data.buf + (good ? end : 0);
    PyObject *records = PyList_New(0);
    while (records && good && at < behind && count <= most) {
        Place text;
        uint32_t size;
        at = aggregate_field(at, behind, &text, &size);
        good = at != NULL;
        if (good && text) {
            PyObject *record = PyBytes_FromStringAndSize((const char *)text, (Py_ssize_t)size);
            if (!record || PyList_Append(records, record))
                Py_CLEAR(records);
            Py_XDECREF(record);
            count++;
        }
    }
    PyBuffer_Release(&data);
    if (records && !good) {
        Py_DECREF(records);
        return Py_NewRef(Py_None);
    }
    return records;
}
