/* The records of a GetRecords reply in CBOR (RFC 8949), as AWS's SDK for Java asks for it.

   Its members are those of the reply in JSON; data are a byte string, and times are milliseconds, with tag 1 or without.
   A reply that is unusual in any way (strings in chunks, a missing or repeated member, other kinds of values) is left to
   the caller, who asks for it in JSON. */

#include "reply.h"

enum { INTEGER, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

#define BREAK 0xff
#define OPEN 31         /* no length: a break ends the item */
#define DOUBLE 27       /* of the simple ones */
#define EPOCH 1         /* the tag of a time */
#define DEEPEST 16      /* of members that are only passed */
#define LEAST_MS 1e11   /* in seconds the year 5138, in milliseconds 1973 */
#define EXACT ((uint64_t)1 << 53)

typedef struct {
    int kind;       /* the major type */
    int low;        /* its other five bits: the value itself, its width, or OPEN */
    uint64_t value; /* also a length, a tag, or the bits of a number with a point */
} Head;

/* An item's head. Returns what follows it. */
static Place head(Place at, Place end, Head *out)
{
    if (at >= end)
        return NULL;
    out->kind = *at >> 5;
    out->low = *at++ & 31;
    out->value = (uint64_t)out->low;
    if (out->low < 24 || out->low == OPEN)
        return at;
    size_t width = (size_t)1 << (out->low - 24);
    if (out->low > 27 || (size_t)(end - at) < width)
        return NULL;
    for (out->value = 0; width--; at++)
        out->value = out->value << 8 | *at;
    return at;
}

/* The head of an item of this kind. */
static Place head_of(Place at, Place end, int kind, Head *out)
{
    at = head(at, end, out);
    return at && out->kind == kind ? at : NULL;
}

/* Whether an array or map goes on; passes the break that ends one without a length. */
static int goes_on(Place *at, Place end, Head *of)
{
    if (of->low != OPEN)
        return of->value-- > 0;
    if (*at >= end || **at != BREAK)
        return 1;
    ++*at;
    return 0;
}

/* A string in one piece. Returns what follows it; `text` and `size` are set around its content. */
static Place string(Place at, Place end, int kind, Place *text, size_t *size)
{
    Head string;
    if (*text || !(at = head_of(at, end, kind, &string)) || string.low == OPEN || string.value > (size_t)(end - at))
        return NULL;
    *text = at;
    *size = (size_t)string.value;
    return at + *size;
}

/* Any item. Returns what follows it. */
static Place passed(Place at, Place end, int depth)
{
    Head item;
    Place text = NULL;
    size_t size;
    Place after = head(at, end, &item);
    if (!after || !depth)
        return NULL;
    switch (item.kind) {
    case BYTES:
    case TEXT:
        return string(at, end, item.kind, &text, &size);
    case ARRAY:
    case MAP:
        while (goes_on(&after, end, &item)) {
            if (item.kind == MAP && !(after = passed(after, end, depth - 1)))
                return NULL;
            if (!(after = passed(after, end, depth - 1)))
                return NULL;
        }
        return after;
    case TAG:
        return item.low == OPEN ? NULL : passed(after, end, depth - 1);
    default:
        return item.low == OPEN ? NULL : after;
    }
}

static int is_name(Place name, size_t size, const char *wanted)
{
    return size == strlen(wanted) && !memcmp(name, wanted, size);
}

/* A time, in seconds or milliseconds since the epoch. */
static Place moment(Place at, Place end, double *seconds)
{
    Head item;
    double value;
    if (!(at = head(at, end, &item)))
        return NULL;
    if (item.kind == TAG && (item.low == OPEN || item.value != EPOCH || !(at = head(at, end, &item))))
        return NULL;
    if (item.kind == INTEGER && item.low != OPEN && item.value < EXACT)
        value = (double)item.value;
    else if (item.kind == SIMPLE && item.low == DOUBLE)
        memcpy(&value, &item.value, sizeof value);
    else
        return NULL;
    if (!(value >= 0 && value < (double)EXACT))
        return NULL;
    *seconds = value < LEAST_MS ? value : value / 1000;
    return at;
}

static int is_number(Place text, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        if (text[at] < '0' || text[at] > '9')
            return 0;
    }
    return size > 0;
}

static Place record(Reply *reply, Place at, Place end)
{
    Record *record = reply_add(reply);
    Head map;
    int times = 0;
    if (!record || !(at = head_of(at, end, MAP, &map)))
        return NULL;
    while (goes_on(&at, end, &map)) {
        Place name = NULL;
        size_t size;
        if (!(at = string(at, end, TEXT, &name, &size)))
            return NULL;
        if (is_name(name, size, "Data"))
            at = string(at, end, BYTES, &record->data, &record->data_size);
        else if (is_name(name, size, "SequenceNumber"))
            at = string(at, end, TEXT, &record->sequence, &record->sequence_size);
        else if (is_name(name, size, "ApproximateArrivalTimestamp"))
            at = times++ ? NULL : moment(at, end, &record->arrival);
        else
            at = passed(at, end, DEEPEST);
        if (!at)
            return NULL;
    }
    if (!record->data || !times || !is_number(record->sequence, record->sequence_size))
        return NULL;
    record->size = (int64_t)record->data_size;
    reply_count(reply, record);
    return at;
}

static Place records(Reply *reply, Place at, Place end)
{
    Head array;
    if (reply->from || !head_of(at, end, ARRAY, &array))
        return NULL;
    reply->from = at;
    at = head(at, end, &array);
    while (goes_on(&at, end, &array)) {
        if (!(at = record(reply, at, end)))
            return NULL;
    }
    return reply->to = at;
}

/* False for a reply that is left to the caller. */
static int whole(Reply *reply, Place at, Place end)
{
    Head map;
    if (!(at = head_of(at, end, MAP, &map)))
        return 0;
    while (goes_on(&at, end, &map)) {
        Place name = NULL;
        size_t size;
        if (!(at = string(at, end, TEXT, &name, &size)))
            return 0;
        at = is_name(name, size, "Records") ? records(reply, at, end) : passed(at, end, DEEPEST);
        if (!at)
            return 0;
    }
    return reply->from && at == end;
}

static int as_it_is(Place data, size_t size, uint8_t *to)
{
    memcpy(to, data, size);
    return 1;
}

/* cbor_records(body) -> the columns, or None if the reply is left to the caller. */
PyObject *native_cbor_records(PyObject *module, PyObject *args)
{
    (void)module;
    return reply_read(args, whole, "\x80", as_it_is);
}
