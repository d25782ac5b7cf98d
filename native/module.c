/* The module's table of functions; vortex/core/native/contract.py has their signatures. */

#include "native.h"

static PyMethodDef functions[] = {
    {"paths", native_paths, METH_VARARGS, "Prepare paths of fields for events()."},
    {"numbers", native_numbers, METH_VARARGS, "An empty table of numbers for names or groups."},
    {"group", native_group, METH_VARARGS, "The group of each row, by its name and period."},
    {"events", native_events, METH_VARARGS, "The events of records, as rows."},
    {"records", native_records, METH_VARARGS, "The records of a reply of GetRecords, as columns."},
    {"cbor_records", native_cbor_records, METH_VARARGS, "The same, of a reply in CBOR."},
    {"aggregate", native_aggregate, METH_VARARGS, "The user records of a KPL aggregate."},
    {"lines", native_lines, METH_VARARGS, "Join lines of several pages."},
    {"claim", native_claim, METH_VARARGS, "Add keys to the filter."},
    {"refill", native_refill, METH_VARARGS, "Copy the keys of one filter table to another."},
    {"find", native_find, METH_VARARGS, "Look up keys in sorted keys."},
    {"maybe", native_maybe, METH_VARARGS, "Look up keys in sorted keys approximately, by three bytes of each."},
    {"order", native_order, METH_VARARGS, "Sort keys."},
    {"rising", native_rising, METH_VARARGS, "Whether sequence numbers increase."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The steps of the hot path in C.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
