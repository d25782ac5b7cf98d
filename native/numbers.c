/* Numbers for pairs of customer and type, and for such a pair and a period; most pages contain the same ones. */

#include "numbers.h"

#define FIRST_MASK 255

static void forget_numbers(PyObject *capsule)
{
    Numbers *numbers = PyCapsule_GetPointer(capsule, "numbers");
    if (numbers) {
        free(numbers->entries);
        free(numbers->places);
        free(numbers->text);
        free(numbers);
    }
}

/* numbers(seed) -> a capsule. */
PyObject *native_numbers(PyObject *module, PyObject *args)
{
    unsigned long long seed;
    (void)module;
    if (!PyArg_ParseTuple(args, "K", &seed))
        return NULL;
    Numbers *numbers = calloc(1, sizeof *numbers);
    if (!numbers)
        return PyErr_NoMemory();
    numbers->seed = seed | 1;
    PyObject *capsule = PyCapsule_New(numbers, "numbers", forget_numbers);
    if (!capsule)
        free(numbers);
    return capsule;
}

/* The numbers in a capsule; NULL, with an error set, for another capsule, or while another thread uses it. */
Numbers *numbers_of(PyObject *capsule)
{
    Numbers *numbers = PyCapsule_GetPointer(capsule, "numbers");
    if (numbers && numbers->in_use) {
        PyErr_SetString(PyExc_RuntimeError, "numbers: in use by another thread");
        return NULL;
    }
    return numbers;
}

static uint64_t sum_of(const uint8_t *text, size_t size, uint64_t sum)
{
    size_t byte = 0;
    for (; byte + 8 <= size; byte += 8)
        sum = folded(sum ^ word64(text + byte), 0x9E3779B97F4A7C15u);
    if (byte < size && size > 8)
        sum = folded(sum ^ word64(text + size - 8), 0x9E3779B97F4A7C15u);
    for (; byte < size && size < 8; byte++)
        sum = folded(sum ^ text[byte], 0x9E3779B97F4A7C15u);
    return sum ^ size;
}

static size_t place_of(uint64_t sum, size_t mask)
{
    return (size_t)(sum >> 20) & mask;
}

/* Grows for one more entry with a text of `size` bytes; false if memory runs out. */
static int grown(Numbers *numbers, size_t size)
{
    if (numbers->used + size > numbers->room) {
        size_t room = 2 * numbers->room + size + 4096;
        uint8_t *text = realloc(numbers->text, room);
        if (!text)
            return 0;
        numbers->text = text;
        numbers->room = room;
    }
    if (numbers->places && 2 * (numbers->count + 1) <= numbers->mask)
        return 1;
    size_t mask = numbers->places ? 2 * numbers->mask + 1 : FIRST_MASK;
    uint32_t *places = calloc(mask + 1, sizeof *places);
    Entry *entries = places ? realloc(numbers->entries, (mask + 1) * sizeof *entries) : NULL;
    if (!entries) {
        free(places);
        return 0;
    }
    for (size_t number = 0; number < numbers->count; number++) {
        size_t place = place_of(entries[number].sum, mask);
        while (places[place])
            place = (place + 1) & mask;
        places[place] = (uint32_t)number + 1;
    }
    free(numbers->places);
    numbers->places = places;
    numbers->entries = entries;
    numbers->mask = mask;
    return 1;
}

/* The number of the entry with these two texts, new or old; negative if memory runs out. */
int32_t number_of(Numbers *numbers, const uint8_t *one, size_t first, const uint8_t *other, size_t second)
{
    uint64_t sum = sum_of(other, second, sum_of(one, first, numbers->seed));
    size_t place = 0;
    if (numbers->places) {
        for (place = place_of(sum, numbers->mask); numbers->places[place]; place = (place + 1) & numbers->mask) {
            const Entry *entry = &numbers->entries[numbers->places[place] - 1];
            const uint8_t *text = numbers->text + entry->at;
            if (entry->sum == sum && entry->first == first && entry->second == second && !memcmp(text, one, first) &&
                !memcmp(text + first, other, second))
                return (int32_t)numbers->places[place] - 1;
        }
    }
    if (numbers->count >= INT32_MAX || !grown(numbers, first + second))
        return -1;
    for (place = place_of(sum, numbers->mask); numbers->places[place]; place = (place + 1) & numbers->mask)
        continue;
    memcpy(numbers->text + numbers->used, one, first);
    memcpy(numbers->text + numbers->used + first, other, second);
    numbers->entries[numbers->count] = (Entry){sum, numbers->used, (uint32_t)first, (uint32_t)second};
    numbers->used += first + second;
    numbers->places[place] = (uint32_t)++numbers->count;
    return (int32_t)numbers->count - 1;
}

/* group(numbers, name, period) -> (group, new): for each row the number of its name and period, and the pairs that are
   new. */
PyObject *native_group(PyObject *module, PyObject *args)
{
    PyObject *capsule, *groups = NULL, *fresh = NULL, *answer = NULL;
    Py_buffer name, period;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oy*y*", &capsule, &name, &period))
        return NULL;
    Numbers *numbers = numbers_of(capsule);
    size_t rows = (size_t)name.len / 4;
    if (numbers && (size_t)period.len != 8 * rows)
        PyErr_SetString(PyExc_ValueError, "group: columns of different lengths");
    else if (numbers)
        groups = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(4 * rows));
    if (groups) {
        int32_t *group = (int32_t *)PyBytes_AsString(groups);
        const uint8_t *names = name.buf, *periods = period.buf;
        for (size_t row = 0; group && row < rows; row++) {
            group[row] = number_of(numbers, names + 4 * row, 4, periods + 8 * row, 8);
            if (group[row] < 0)
                group = NULL;
        }
        fresh = group ? PyList_New(0) : PyErr_NoMemory();
        for (size_t number = numbers->reported; fresh && number < numbers->count; number++) {
            const uint8_t *text = numbers->text + numbers->entries[number].at;
            int32_t its_name;
            int64_t its_period;
            memcpy(&its_name, text, 4);
            memcpy(&its_period, text + 4, 8);
            PyObject *pair = Py_BuildValue("iL", (int)its_name, (long long)its_period);
            if (!pair || PyList_Append(fresh, pair))
                Py_CLEAR(fresh);
            Py_XDECREF(pair);
        }
        answer = fresh ? PyTuple_Pack(2, groups, fresh) : NULL;
        if (answer)
            numbers->reported = numbers->count;
    }
    Py_XDECREF(groups);
    Py_XDECREF(fresh);
    PyBuffer_Release(&name);
    PyBuffer_Release(&period);
    return answer;
}
