/* What the steps written in C share. They know bytes and numbers alone: whatever needs a decision is Python's.

   Built against Python's stable ABI, so that one wheel does for all versions. */

#ifndef VORTEX_NATIVE_H
#define VORTEX_NATIVE_H

/* Words are read as they lie in memory, and hashes are made of them: a machine that lays them the other way round would
   remember an id by another hash than every other machine. There the build ends, and Python does the work. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian machines alone"
#endif

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#include "json.h"
#include "xxh3.h"

PyObject *native_numbers(PyObject *module, PyObject *args);
PyObject *native_group(PyObject *module, PyObject *args);
PyObject *native_aggregate(PyObject *module, PyObject *args);
PyObject *native_paths(PyObject *module, PyObject *args);
PyObject *native_events(PyObject *module, PyObject *args);
PyObject *native_records(PyObject *module, PyObject *args);
PyObject *native_lines(PyObject *module, PyObject *args);
PyObject *native_refill(PyObject *module, PyObject *args);
PyObject *native_claim(PyObject *module, PyObject *args);
PyObject *native_find(PyObject *module, PyObject *args);
PyObject *native_maybe(PyObject *module, PyObject *args);

#endif
