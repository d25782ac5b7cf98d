/* The records of a GetRecords reply: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html.

   A reply that is unusual in any way (escapes in data, a missing or repeated member, white space other than blanks, a
   number that cannot be read exactly here) is left to Python. */

#include "base64.h"
#include "reply.h"

/* Reads a number exactly, by one division or multiplication of two exact doubles. */
static int exact(Place at, Place end, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t digits = 0;
    int point = 0, power = 0, minus = 0, value = 0;
    if (at < end && *at == '-')
        return 0;
    for (; at < end && (*at | 32) != 'e'; at++) {
        if (*at == '.') {
            point = 1;
            continue;
        }
        digits = 10 * digits + (uint64_t)(*at - '0');
        power -= point;
        if (digits >= (uint64_t)1 << 53)
            return 0;
    }
    if (at < end) {
        at++;
        minus = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        for (; at < end; at++) {
            value = 10 * value + *at - '0';
            if (value > 1000)
                return 0;
        }
        power += minus ? -value : value;
    }
    if (power < -22 || power > 22)
        return 0;
    *out = power < 0 ? (double)digits / powers[-power] : (double)digits * powers[power];
    return 1;
}

static int is_name(Place name, Place behind, const char *wanted)
{
    size_t size = strlen(wanted);
    return (size_t)(behind - name) == size && !memcmp(name, wanted, size);
}

/* A member's name and colon. Returns the position of its value; `name` and `behind` are set around the name. */
static Place member(Place at, Place end, Place *name, Place *behind)
{
    int has = 0;
    if (at >= end || *at != '"')
        return NULL;
    *name = at + 1;
    at = json_string(at + 1, end, &has);
    if (!at || has & ESCAPED)
        return NULL;
    *behind = at - 1;
    at = json_blanks(at, end);
    return at < end && *at == ':' ? json_blanks(at + 1, end) : NULL;
}

/* A string of a record, from its quote. For Data only the end is searched: base64 finds invalid characters. */
static Place string(Place at, Place end, int is_data, Place *text, size_t *size)
{
    int has = 0;
    if (*text || at >= end || *at != '"')
        return NULL;
    *text = at + 1;
    at = is_data ? memchr(*text, '"', (size_t)(end - *text)) : json_string(*text, end, &has);
    if (!at || has & ESCAPED)
        return NULL;
    at += is_data;
    *size = (size_t)(at - 1 - *text);
    return at;
}

/* One record, from its brace. */
static Place record(Reply *reply, Place at, Place end)
{
    Record *record = reply_add(reply);
    Place name, behind, arrival = NULL;
    int whole;
    if (!record || at >= end || *at != '{')
        return NULL;
    do {
        if (!(at = member(json_blanks(at + 1, end), end, &name, &behind)))
            return NULL;
        if (is_name(name, behind, "Data")) {
            at = string(at, end, 1, &record->data, &record->data_size);
        } else if (is_name(name, behind, "SequenceNumber")) {
            at = string(at, end, 0, &record->sequence, &record->sequence_size);
        } else if (is_name(name, behind, "ApproximateArrivalTimestamp")) {
            if (arrival)
                return NULL;
            arrival = at;
            at = json_number(at, end, &whole);
            if (!at || !exact(arrival, at, &record->arrival))
                return NULL;
        } else {
            at = json_value(at, end, 1);
        }
        if (!at)
            return NULL;
        at = json_blanks(at, end);
    } while (at < end && *at == ',');
    if (at >= end || *at != '}' || !record->data || !record->sequence || !arrival)
        return NULL;
    record->size = base64_size(record->data, record->data_size);
    if (record->size < 0)
        return NULL;
    reply_count(reply, record);
    return at + 1;
}

static Place array(Reply *reply, Place at, Place end)
{
    if (at >= end || *at != '[')
        return NULL;
    at = json_blanks(at + 1, end);
    if (at < end && *at == ']')
        return at + 1;
    for (;;) {
        if (!(at = record(reply, at, end)))
            return NULL;
        at = json_blanks(at, end);
        if (at < end && *at == ']')
            return at + 1;
        if (at >= end || *at != ',')
            return NULL;
        at = json_blanks(at + 1, end);
    }
}

/* False for a reply that is left to Python. */
static int whole(Reply *reply, Place at, Place end)
{
    Place name, behind;
    at = json_blanks(at, end);
    if (at >= end || *at != '{')
        return 0;
    do {
        if (!(at = member(json_blanks(at + 1, end), end, &name, &behind)))
            return 0;
        if (is_name(name, behind, "Records")) {
            if (reply->from)
                return 0;
            reply->from = at;
            reply->to = at = array(reply, at, end);
        } else {
            at = json_value(at, end, 1);
        }
        if (!at)
            return 0;
        at = json_blanks(at, end);
    } while (at < end && *at == ',');
    return reply->from && at < end && *at == '}' && json_blanks(at + 1, end) == end;
}

/* records(body) -> the columns, or None if the reply is left to Python. */
PyObject *native_records(PyObject *module, PyObject *args)
{
    (void)module;
    base64_tables();
    return reply_read(args, whole, "[]", base64);
}

/* Digits to the end of each line, and each line greater than the one before it. */
static int rising(Place at, size_t count, size_t width)
{
    int good = 1;
    for (size_t line = 0; good && line < count; line++, at += width) {
        for (size_t digit = 0; digit + 1 < width; digit++)
            good &= at[digit] >= '0' && at[digit] <= '9';
        good &= at[width - 1] == '\n' && (!line || memcmp(at - width, at, width) < 0);
    }
    return good;
}

/* rising(lines, width): whether lines of this width are increasing numbers. */
PyObject *native_rising(PyObject *module, PyObject *args)
{
    Py_buffer lines;
    Py_ssize_t width;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*n", &lines, &width))
        return NULL;
    int consistent = width > 0 && lines.len % width == 0;
    int good = consistent && rising(lines.buf, (size_t)(lines.len / width), (size_t)width);
    PyBuffer_Release(&lines);
    if (!consistent) {
        PyErr_SetString(PyExc_ValueError, "rising: lines of another width");
        return NULL;
    }
    return PyBool_FromLong(good);
}
