/* The module's table of functions; what each takes and gives is in vortex/core/native/contract.py. */

#include "native.h"

static PyMethodDef functions[] = {
    {"paths", native_paths, METH_VARARGS, "Paths to fields, made ready for events()."},
    {"numbers", native_numbers, METH_VARARGS, "Numbers for names or for groups, none given yet."},
    {"group", native_group, METH_VARARGS, "The group of each row, by its name and period."},
    {"events", native_events, METH_VARARGS, "The events of records, as rows."},
    {"records", native_records, METH_VARARGS, "The records of a reply of GetRecords, as columns."},
    {"aggregate", native_aggregate, METH_VARARGS, "The user records of a KPL aggregate."},
    {"lines", native_lines, METH_VARARGS, "Lines of several pages, put together."},
    {"claim", native_claim, METH_VARARGS, "Enter keys into the filter."},
    {"refill", native_refill, METH_VARARGS, "The keys of one table of the filter into another."},
    {"find", native_find, METH_VARARGS, "Where keys stand among sorted ones."},
    {"maybe", native_maybe, METH_VARARGS, "Where keys may stand among sorted ones, by three bytes of each."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The hot path's steps in C.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
