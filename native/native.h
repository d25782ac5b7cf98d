/* What the steps written in C share. They know bytes and numbers alone: whatever needs a decision is Python's.

   Built against Python's stable ABI, so that one wheel does for all versions. */

#ifndef VORTEX_NATIVE_H
#define VORTEX_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

#include "json.h"
#include "xxh3.h"

PyObject *native_numbers(PyObject *module, PyObject *args);
PyObject *native_group(PyObject *module, PyObject *args);
PyObject *native_aggregate(PyObject *module, PyObject *args);
PyObject *native_plan(PyObject *module, PyObject *args);
PyObject *native_events(PyObject *module, PyObject *args);
PyObject *native_records(PyObject *module, PyObject *args);
PyObject *native_lines(PyObject *module, PyObject *args);
PyObject *native_rehash(PyObject *module, PyObject *args);
PyObject *native_claim(PyObject *module, PyObject *args);

#endif
