/* The events of records: for each event the four fields that Vortex reads, its key and its period.

   A record with anything unusual is left to Python (vortex/core/decode/decoder.py): this is a fast path that decides
   nothing itself. A record contains one event, or several on separate lines, or is an aggregate of such. */

#include "aggregate.h"
#include "numbers.h"
#include "period.h"
#include "paths.h"

#define NAME_LIMIT 1024

enum { DEFER_KEY = 1, DEFER_TIME = 2, NO_ID = 4 };

typedef struct {
    int64_t start, period;
    uint8_t key[16];
    int32_t size, record, name;
} Row;

/* The part of an event that is left to Python; as `DEFERRED` in vortex/core/native/contract.py. */
typedef struct {
    int32_t row, id_at, id_size, time_at, time_size; /* within the line */
    uint32_t what;
} Deferred;

typedef struct {
    const PathTrie *trie;
    const uint8_t *text;
    int64_t period_ms;
    uint64_t seed;
    size_t most; /* events that a record may have */
    Numbers *names;
    Row *rows;
    size_t count, room;
    size_t before; /* events of the records before this one */
    Deferred *deferred;
    size_t deferrals, deferrals_room;
} Reading;

static Place object(const PathTrie *trie, int node, Place at, Place end, Value *values, int depth);

static Place leaf(Place at, Place end, Value *value)
{
    int flag = 0;
    Place begin = at;
    if (at < end && *at == '"') {
        at = json_string(at + 1, end, &flag);
        if (!at || at - begin > INT32_MAX)
            return NULL;
        *value = (Value){begin + 1, (int32_t)(at - begin - 2), flag & ESCAPED ? ESCAPED_TEXT : TEXT};
        return at;
    }
    if (at < end && *at == 'n')
        return json_word(at, end, "null");
    at = json_number(at, end, &flag);
    if (!at || (at - begin == 2 && begin[0] == '-' && begin[1] == '0') || at - begin > INT32_MAX)
        return NULL;
    *value = (Value){begin, (int32_t)(at - begin), flag ? WHOLE : BROKEN};
    return at;
}

/* The members of an object on a path. An object that has a key of the trie twice is left to Python. */
static Place members(const Node *node, const PathTrie *trie, Place at, Place end, Value *values, int depth)
{
    uint64_t seen = 0;
    for (;;) {
        const Key *known = NULL;
        int has = 0;
        if (at >= end || *at != '"')
            return NULL;
        Place name = at + 1;
        if (!(at = json_string(name, end, &has)) || has & ESCAPED)
            return NULL;
        size_t size = (size_t)(at - name - 1);
        for (int key = 0; node->sizes >> (size & 63) & 1 && key < node->count; key++) {
            if (node->keys[key].size == size && !memcmp(node->keys[key].text, name, size)) {
                if (seen >> key & 1)
                    return NULL;
                seen |= (uint64_t)1 << key;
                known = &node->keys[key];
                break;
            }
        }
        at = json_blanks(at, end);
        if (at >= end || *at != ':')
            return NULL;
        at = json_blanks(at + 1, end);
        if (!known)
            at = json_value(at, end, depth);
        else if (known->node >= 0)
            at = object(trie, known->node, at, end, values, depth);
        else
            at = leaf(at, end, &values[known->path]);
        if (!at)
            return NULL;
        at = json_blanks(at, end);
        if (at >= end)
            return NULL;
        if (*at == '}')
            return at + 1;
        if (*at != ',')
            return NULL;
        at = json_blanks(at + 1, end);
    }
}

static Place object(const PathTrie *trie, int node, Place at, Place end, Value *values, int depth)
{
    if (at >= end || *at != '{' || depth >= JSON_DEPTH)
        return NULL;
    at = json_blanks(at + 1, end);
    if (at < end && *at == '}')
        return at + 1;
    return members(&trie->nodes[node], trie, at, end, values, depth + 1);
}

static const Value *first_present(const PathTrie *trie, int field, const Value *values)
{
    static const Value absent = {NULL, 0, ABSENT};
    for (const int8_t *path = trie->of[field]; *path >= 0; path++) {
        const Value *value = &values[*path];
        if (value->kind != ABSENT && (value->kind != TEXT || value->size)) /* an escape has a size */
            return value;
    }
    return &absent;
}

/* The key's text: the number of characters of the customer, a colon, the customer, the id. False if it is too short or
   too long to be hashed here. */
static int key_of(const Value *customer, const Value *id, uint64_t seed, uint8_t *key)
{
    uint8_t text[XXH3_MOST + 24];
    char digits[12];
    int32_t characters = 0, size = 0, count = 0;
    if ((int64_t)customer->size + id->size > XXH3_MOST)
        return 0;
    for (int32_t byte = 0; byte < customer->size; byte++)
        characters += (customer->at[byte] & 0xC0) != 0x80;
    do
        digits[count++] = (char)('0' + characters % 10);
    while (characters /= 10);
    while (count)
        text[size++] = (uint8_t)digits[--count];
    text[size++] = ':';
    memcpy(text + size, customer->at, (size_t)customer->size);
    size += customer->size;
    memcpy(text + size, id->at, (size_t)id->size);
    size += id->size;
    if (size < XXH3_LEAST || size > XXH3_MOST)
        return 0;
    xxh3_128(text, (size_t)size, seed, key);
    return 1;
}

/* Returns an array with room for more than `count`, perhaps moved; NULL if memory runs out, and the old one stays. */
static void *grown(void *array, size_t count, size_t *room, size_t width)
{
    if (count < *room)
        return array;
    size_t more = 2 * *room + 64;
    void *larger = realloc(array, more * width);
    if (larger)
        *room = more;
    return larger;
}

/* Grows for one more row and its deferred part; false if memory runs out. */
static int has_room(Reading *reading)
{
    Row *rows = grown(reading->rows, reading->count, &reading->room, sizeof *rows);
    if (rows)
        reading->rows = rows;
    Deferred *deferred = grown(reading->deferred, reading->deferrals, &reading->deferrals_room, sizeof *deferred);
    if (deferred)
        reading->deferred = deferred;
    return rows && deferred && reading->count < INT32_MAX;
}

/* The period of a time in a common format; false if it may be in a format that only Python knows. */
static int has_period(const Reading *reading, const Value *time, int64_t *period)
{
    if (time->kind == TEXT && reading->trie->formats)
        return 0;
    return (time->kind == TEXT && period_of(time, reading->period_ms, period)) ||
           ((time->kind == TEXT || time->kind == WHOLE) && period_of_number(time, reading->period_ms, period));
}

/* One event, the whole line. Returns 1: read, 0: left to Python, -1: out of memory. */
static int event(Reading *reading, int32_t record, Place line, Place end, const Value *values)
{
    const PathTrie *trie = reading->trie;
    const Value *customer = first_present(trie, CUSTOMER, values), *type = first_present(trie, TYPE, values);
    const Value *id = first_present(trie, ID, values), *time = first_present(trie, TIME, values);
    if ((customer->kind != TEXT && customer->kind != WHOLE) || (type->kind != TEXT && type->kind != WHOLE) ||
        id->kind == BROKEN || id->kind == ESCAPED_TEXT || (id->kind == ABSENT && !trie->hash_missing) ||
        end - line > INT32_MAX || end - line > trie->max_bytes ||
        (int64_t)customer->size + type->size > NAME_LIMIT || reading->count - reading->before >= reading->most)
        return 0;
    if (!has_room(reading))
        return -1;
    Row *row = &reading->rows[reading->count];
    Deferred *deferred = &reading->deferred[reading->deferrals];
    row->start = line - reading->text;
    row->period = NO_PERIOD;
    row->size = (int32_t)(end - line);
    row->record = record;
    *deferred = (Deferred){.row = (int32_t)reading->count};
    if (id->kind == ABSENT) {
        deferred->what = DEFER_KEY | NO_ID;
    } else if (!key_of(customer, id, reading->seed, row->key)) {
        deferred->what = DEFER_KEY;
        deferred->id_at = (int32_t)(id->at - line);
        deferred->id_size = id->size;
    }
    if (time->kind != ABSENT && !has_period(reading, time, &row->period)) {
        int quoted = time->kind == TEXT || time->kind == ESCAPED_TEXT;
        deferred->what |= DEFER_TIME;
        deferred->time_at = (int32_t)(time->at - line) - quoted; /* as JSON, quotes included */
        deferred->time_size = time->size + 2 * quoted;
    }
    if (deferred->what & DEFER_KEY)
        memset(row->key, 0, sizeof row->key);
    row->name = number_of(reading->names, customer->at, (size_t)customer->size, type->at, (size_t)type->size);
    if (row->name < 0)
        return -1;
    reading->deferrals += deferred->what != 0;
    reading->count++;
    return 1;
}

static Place white(Place at, Place end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/* All events of a record, or of a user record of an aggregate, separated by white space only. Returns 1, 0 if any is
   left to Python, -1 if memory runs out. */
static int events_of(Reading *reading, int32_t number, Place at, Place end)
{
    int outcome = 1;
    Place line = white(at, end);
    if (line == end)
        return 0;
    while (outcome == 1 && line < end) {
        Value values[PATHS];
        memset(values, 0, reading->trie->paths * sizeof *values);
        Place close = object(reading->trie, 0, line, end, values, 0);
        if (!close)
            return 0;
        outcome = event(reading, number, line, close, values);
        line = white(close, end);
    }
    return outcome;
}

/* All events of an aggregate, as of a record. One without user records is left to Python, which rejects it. */
static int events_of_aggregate(Reading *reading, int32_t number, Place at, Place end)
{
    int outcome = 0;
    while (at < end) {
        Place data;
        uint32_t size;
        if (!(at = aggregate_field(at, end, &data, &size)))
            return 0;
        if (data && (outcome = events_of(reading, number, data, data + size)) != 1)
            break;
    }
    return outcome;
}

/* All events of a record. Reads all or none, and at most as many as a record may have. */
static int record(Reading *reading, int32_t number, Place at, Place end, int aggregate)
{
    size_t deferred = reading->deferrals;
    reading->before = reading->count;
    int outcome = aggregate ? events_of_aggregate(reading, number, at + AGGREGATE_HEAD, end - AGGREGATE_TAIL)
                          : events_of(reading, number, at, end);
    if (outcome != 1) {
        reading->count = reading->before; /* its new names stay, which does no harm */
        reading->deferrals = deferred;
    }
    return outcome;
}

/* The pairs of customer and type that Python does not know yet. */
static PyObject *new_names(const Numbers *names)
{
    PyObject *found = PyList_New(0);
    for (size_t number = names->reported; found && number < names->count; number++) {
        const Entry *entry = &names->entries[number];
        const char *text = (const char *)names->text + entry->at;
        PyObject *customer = PyUnicode_DecodeUTF8(text, (Py_ssize_t)entry->first, NULL);
        PyObject *type = customer ? PyUnicode_DecodeUTF8(text + entry->first, (Py_ssize_t)entry->second, NULL) : NULL;
        PyObject *pair = type ? PyTuple_Pack(2, customer, type) : NULL;
        if (!pair || PyList_Append(found, pair))
            Py_CLEAR(found);
        Py_XDECREF(customer);
        Py_XDECREF(type);
        Py_XDECREF(pair);
    }
    return found;
}

static PyObject *unread_records(const uint8_t *done, int64_t records)
{
    PyObject *unread = PyList_New(0);
    for (int64_t at = 0; unread && at < records; at++) {
        PyObject *number = done[at] ? NULL : PyLong_FromLongLong(at);
        if (!done[at] && (!number || PyList_Append(unread, number)))
            Py_CLEAR(unread);
        Py_XDECREF(number);
    }
    return unread;
}

/* The result, by column. */
static PyObject *answer_of(const Reading *reading, const uint8_t *done, int64_t records)
{
    enum { START, SIZE, RECORD, NAME, KEY, PERIOD, DEFERRED, NEW, UNREAD, PARTS };
    static const int widths[] = {8, 4, 4, 4, 16, 8};
    PyObject *part[PARTS] = {NULL}, *answer = NULL;
    char *of[DEFERRED];
    int good = 1;
    for (int column = 0; good && column < DEFERRED; column++) {
        part[column] = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)reading->count * widths[column]);
        good = part[column] && (of[column] = PyBytes_AsString(part[column]));
    }
    for (size_t at = 0; good && at < reading->count; at++) {
        const Row *row = &reading->rows[at];
        memcpy(of[START] + 8 * at, &row->start, 8);
        memcpy(of[SIZE] + 4 * at, &row->size, 4);
        memcpy(of[RECORD] + 4 * at, &row->record, 4);
        memcpy(of[NAME] + 4 * at, &row->name, 4);
        memcpy(of[KEY] + 16 * at, row->key, 16);
        memcpy(of[PERIOD] + 8 * at, &row->period, 8);
    }
    if (good && (part[DEFERRED] = PyBytes_FromStringAndSize((const char *)reading->deferred,
                                                         (Py_ssize_t)(reading->deferrals * sizeof(Deferred)))) &&
        (part[NEW] = new_names(reading->names)) && (part[UNREAD] = unread_records(done, records)))
        answer = PyTuple_Pack(PARTS, part[START], part[SIZE], part[RECORD], part[NAME], part[KEY], part[PERIOD],
                              part[DEFERRED], part[NEW], part[UNREAD]);
    for (int each = 0; each < PARTS; each++)
        Py_XDECREF(part[each]);
    return answer;
}

/* events(paths, names, text, bounds, aggregate, period_ms, seed, most) -> (start, size, record, name, key, period, deferred, new, unread) */
PyObject *native_events(PyObject *module, PyObject *args)
{
    PyObject *capsule, *numbers, *answer = NULL;
    Py_buffer text, bounds, aggregate;
    long long period_ms;
    unsigned long long seed;
    Py_ssize_t most;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOy*y*y*LKn", &capsule, &numbers, &text, &bounds, &aggregate, &period_ms, &seed, &most))
        return NULL;
    const int64_t *bound = bounds.buf;
    const uint8_t *aggregated = aggregate.buf;
    int64_t records = (int64_t)(bounds.len / 8) - 1;
    Reading reading = {.trie = PyCapsule_GetPointer(capsule, "paths"), .text = text.buf, .period_ms = period_ms, .seed = seed,
                       .most = most > 0 ? (size_t)most : 0};
    reading.names = reading.trie ? numbers_of(numbers) : NULL;
    uint8_t *done = calloc((size_t)(records > 0 ? records : 1), 1);
    int good = reading.names && done && period_ms > 0 && records >= 0 && records < INT32_MAX &&
               aggregate.len == records;
    for (int64_t at = 0; good && at <= records; at++)
        good = bound[at] >= (at ? bound[at - 1] : 0) && bound[at] <= text.len &&
               (!at || !aggregated[at - 1] || bound[at] - bound[at - 1] >= AGGREGATE_HEAD + AGGREGATE_TAIL);
    if (good) {
        reading.names->in_use = 1;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t at = 0; good && at < records; at++) {
            Place begin = reading.text + bound[at], end = reading.text + bound[at + 1];
            int outcome = record(&reading, (int32_t)at, begin, end, aggregated[at]);
            done[at] = outcome == 1;
            good = outcome >= 0;
        }
        Py_END_ALLOW_THREADS
        reading.names->in_use = 0;
        answer = good ? answer_of(&reading, done, records) : PyErr_NoMemory();
        if (answer)
            reading.names->reported = reading.names->count;
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "events: bounds or aggregates do not match the text");
    }
    free(done);
    free(reading.rows);
    free(reading.deferred);
    PyBuffer_Release(&text);
    PyBuffer_Release(&bounds);
    PyBuffer_Release(&aggregate);
    return answer;
}
