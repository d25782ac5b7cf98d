/* The records of a GetRecords reply, as `reply.c` finds them in JSON and `cbor.c` in CBOR. */

#ifndef VORTEX_REPLY_H
#define VORTEX_REPLY_H

#include "native.h"

typedef struct {
    Place data, sequence; /* as in the reply: what stands between quotes, or behind a head */
    size_t data_size, sequence_size;
    int64_t size; /* of the data themselves */
    double arrival;
} Record;

typedef struct {
    Record *records;
    size_t count, room;
    int64_t data_bytes, sequence_bytes; /* of all records: data themselves, and sequence numbers with a line break each */
    Place from, to; /* around the array of records */
} Reply;

/* Writes the data of a record; false if they are invalid. */
typedef int (*Unpack)(Place data, size_t size, uint8_t *to);

/* A new record of the reply, without values; NULL without memory. */
Record *reply_add(Reply *reply);

/* Counts a record whose values are all set. */
void reply_count(Reply *reply, const Record *record);

/* Finds the records and sets all of the reply; false for one that is left to the caller. Runs without Python's lock. */
typedef int (*Find)(Reply *reply, Place at, Place end);

/* The step itself, of its argument, a body: (data, bounds, arrivals, sequences, rest), where the rest is the reply with an
   array of no records, as `none` writes it. None if the reply is left to the caller, or some data are invalid. */
PyObject *reply_read(PyObject *args, Find find, const char *none, Unpack unpack);

#endif
