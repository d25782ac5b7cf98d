/* The records of a GetRecords reply as columns, in whatever way the reply was written. */

#include "reply.h"

Record *reply_add(Reply *reply)
{
    if (reply->count == reply->room) {
        size_t room = 2 * reply->room + 256;
        Record *records = realloc(reply->records, room * sizeof *records);
        if (!records)
            return NULL;
        reply->records = records;
        reply->room = room;
    }
    Record *record = &reply->records[reply->count++];
    *record = (Record){0};
    return record;
}

void reply_count(Reply *reply, const Record *record)
{
    reply->data_bytes += record->size;
    reply->sequence_bytes += (int64_t)record->sequence_size + 1;
}

/* Fills the columns; false if some data are invalid. */
static int filled(const Reply *reply, Unpack unpack, uint8_t *data, int64_t *bound, double *arrival, uint8_t *sequence)
{
    *bound = 0;
    for (size_t at = 0; at < reply->count; at++) {
        const Record *record = &reply->records[at];
        if (!unpack(record->data, record->data_size, data + bound[at]))
            return 0;
        bound[at + 1] = bound[at] + record->size;
        arrival[at] = record->arrival;
        memcpy(sequence, record->sequence, record->sequence_size);
        sequence += record->sequence_size;
        *sequence++ = '\n';
    }
    return 1;
}

static PyObject *bytes_of(int64_t size)
{
    return PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
}

/* (data, bounds, arrivals, sequences, rest) of a reply; None if some data are invalid. */
static PyObject *columns(const Reply *reply, Place text, Place end, const char *none, Unpack unpack)
{
    size_t before = (size_t)(reply->from - text), empty = strlen(none), after = (size_t)(end - reply->to);
    PyObject *data = bytes_of(reply->data_bytes), *bounds = bytes_of(8 * (int64_t)(reply->count + 1));
    PyObject *arrivals = bytes_of(8 * (int64_t)reply->count), *sequences = bytes_of(reply->sequence_bytes);
    PyObject *rest = bytes_of((int64_t)(before + empty + after)), *answer = NULL;
    if (data && bounds && arrivals && sequences && rest) {
        uint8_t *into = (uint8_t *)PyBytes_AsString(data), *lines = (uint8_t *)PyBytes_AsString(sequences);
        int64_t *bound = (int64_t *)PyBytes_AsString(bounds);
        double *arrival = (double *)PyBytes_AsString(arrivals);
        char *out = PyBytes_AsString(rest);
        int good;
        Py_BEGIN_ALLOW_THREADS
        memcpy(out, text, before);
        memcpy(out + before, none, empty);
        memcpy(out + before + empty, reply->to, after);
        good = filled(reply, unpack, into, bound, arrival, lines);
        Py_END_ALLOW_THREADS
        answer = good ? PyTuple_Pack(5, data, bounds, arrivals, sequences, rest) : Py_NewRef(Py_None);
    }
    Py_XDECREF(data);
    Py_XDECREF(bounds);
    Py_XDECREF(arrivals);
    Py_XDECREF(sequences);
    Py_XDECREF(rest);
    return answer;
}

PyObject *reply_read(PyObject *args, Find find, const char *none, Unpack unpack)
{
    Py_buffer body;
    Reply reply = {0};
    int understood;
    if (!PyArg_ParseTuple(args, "y*", &body))
        return NULL;
    Place text = body.buf, end = text + body.len;
    Py_BEGIN_ALLOW_THREADS
    understood = find(&reply, text, end);
    Py_END_ALLOW_THREADS
    PyObject *answer = understood ? columns(&reply, text, end, none, unpack) : Py_NewRef(Py_None);
    free(reply.records);
    PyBuffer_Release(&body);
    return answer;
}
