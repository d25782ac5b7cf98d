/* Shared by the steps written in C. They handle only bytes and numbers; decisions are left to Python.

   Built against Python's stable ABI, so that one wheel supports all versions. */

#ifndef VORTEX_NATIVE_H
#define VORTEX_NATIVE_H

/* Words are read in the machine's byte order, and hashes are computed from them: a big-endian machine would compute
   different hashes. There the build fails, and Python does the work. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "only little-endian machines are supported"
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
PyObject *native_cbor_records(PyObject *module, PyObject *args);
PyObject *native_lines(PyObject *module, PyObject *args);
PyObject *native_refill(PyObject *module, PyObject *args);
PyObject *native_claim(PyObject *module, PyObject *args);
PyObject *native_find(PyObject *module, PyObject *args);
PyObject *native_maybe(PyObject *module, PyObject *args);
PyObject *native_order(PyObject *module, PyObject *args);
PyObject *native_rising(PyObject *module, PyObject *args);

#endif
