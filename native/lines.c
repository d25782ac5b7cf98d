/* Selects lines of several pages and joins them: the content of a segment's member. */

#include "native.h"

#define AHEAD 2

/* lines(texts, page, start, size, chosen) -> bytes: the line of each chosen row, and a line break. */
PyObject *native_lines(PyObject *module, PyObject *args)
{
    enum { PAGE, START, SIZE, CHOSEN, BUFFERS };
    Py_buffer of[BUFFERS];
    PyObject *texts, *out = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!y*y*y*y*", &PyList_Type, &texts, &of[PAGE], &of[START], &of[SIZE], &of[CHOSEN]))
        return NULL;
    size_t rows = (size_t)of[START].len / 8, count = (size_t)of[CHOSEN].len / 8, pages = (size_t)PyList_Size(texts);
    const int32_t *page = of[PAGE].buf, *size = of[SIZE].buf;
    const int64_t *start = of[START].buf, *chosen = of[CHOSEN].buf;
    const uint8_t **text = PyMem_Malloc((pages + 1) * sizeof *text);
    int64_t *length = PyMem_Malloc((pages + 1) * sizeof *length), total = 0;
    int good = text && length && (size_t)of[PAGE].len == 4 * rows && (size_t)of[SIZE].len == 4 * rows;
    for (size_t at = 0; good && at < pages; at++) {
        char *data;
        Py_ssize_t bytes;
        good = PyBytes_AsStringAndSize(PyList_GetItem(texts, (Py_ssize_t)at), &data, &bytes) == 0;
        if (good) {
            text[at] = (const uint8_t *)data;
            length[at] = bytes;
        }
    }
    for (size_t at = 0; good && at < count; at++) {
        int64_t row = chosen[at];
        good = row >= 0 && (size_t)row < rows && page[row] >= 0 && (size_t)page[row] < pages && start[row] >= 0 &&
               size[row] >= 0 && start[row] + size[row] <= length[page[row]];
        if (good)
            total += size[row] + 1;
    }
    if (good && (out = PyBytes_FromStringAndSize(NULL, total))) {
        uint8_t *to = (uint8_t *)PyBytes_AsString(out);
        Py_BEGIN_ALLOW_THREADS /* the caller holds references to the texts: the list may change */
        for (size_t at = 0; at < count; at++) {
            int64_t row = chosen[at];
            if (at + AHEAD < count) { /* lines of a group are far apart: prefetch */
                const uint8_t *soon = text[page[chosen[at + AHEAD]]] + start[chosen[at + AHEAD]];
                for (int32_t byte = 0; byte < size[chosen[at + AHEAD]]; byte += 64)
                    __builtin_prefetch(soon + byte);
            }
            memcpy(to, text[page[row]] + start[row], (size_t)size[row]);
            to += size[row];
            *to++ = '\n';
        }
        Py_END_ALLOW_THREADS
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "lines: rows outside of their pages");
    }
    PyMem_Free(text);
    PyMem_Free(length);
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&of[buffer]);
    return out;
}
