/* A plan is made once for each shard's reader, and held by Python in a capsule. */

#include "plan.h"

static void forget_plan(PyObject *capsule)
{
    Plan *plan = PyCapsule_GetPointer(capsule, "plan");
    if (plan) {
        free(plan->text);
        free(plan);
    }
}

/* plan(nodes, fields, hash_missing, formats, max_bytes): nodes is a list of lists of (key as bytes, node or -1, path or -1); fields a list
   of four lists of paths. A plan that is too large raises ValueError. */
PyObject *native_plan(PyObject *module, PyObject *args)
{
    PyObject *nodes, *fields;
    int hash_missing, formats = 0;
    long long max_bytes = INT64_MAX;
    Plan *plan = calloc(1, sizeof *plan);
    size_t used = 0, room = 1 << 16;
    (void)module;
    if (!plan || !(plan->text = malloc(room))) {
        free(plan);
        return PyErr_NoMemory();
    }
    if (!PyArg_ParseTuple(args, "O!O!p|pL", &PyList_Type, &nodes, &PyList_Type, &fields, &hash_missing, &formats, &max_bytes))
        goto failed;
    plan->count = (int)PyList_Size(nodes);
    plan->hash_missing = hash_missing;
    plan->formats = formats;
    plan->max_bytes = max_bytes;
    if (plan->count < 1 || plan->count > NODES || PyList_Size(fields) != FIELDS)
        goto large;
    for (int at = 0; at < plan->count; at++) {
        PyObject *keys = PyList_GetItem(nodes, at);
        Node *node = &plan->nodes[at];
        Py_ssize_t count = PyList_Size(keys);
        if (count < 0)
            goto failed;
        if (count > KEYS)
            goto large;
        for (node->count = 0; node->count < count; node->count++) {
            const char *text;
            Py_ssize_t size;
            int to, path;
            if (!PyArg_ParseTuple(PyList_GetItem(keys, node->count), "y#ii", &text, &size, &to, &path))
                goto failed;
            if (used + (size_t)size > room || to >= plan->count || path >= PATHS || (to < 0) == (path < 0))
                goto large;
            memcpy(plan->text + used, text, (size_t)size);
            node->keys[node->count] = (Key){plan->text + used, (size_t)size, (int16_t)to, (int16_t)path};
            node->sizes |= (uint64_t)1 << (size & 63);
            if (path >= 0 && (size_t)path >= plan->paths)
                plan->paths = (size_t)path + 1;
            used += (size_t)size;
        }
    }
    for (int field = 0; field < FIELDS; field++) {
        PyObject *paths = PyList_GetItem(fields, field);
        Py_ssize_t count = PyList_Size(paths);
        if (count < 0)
            goto failed;
        if (count >= PATHS)
            goto large;
        for (Py_ssize_t at = 0; at < count; at++) {
            long path = PyLong_AsLong(PyList_GetItem(paths, at));
            if (path < 0 || path >= PATHS)
                goto large;
            if ((size_t)path >= plan->paths)
                plan->paths = (size_t)path + 1;
            plan->of[field][at] = (int8_t)path;
        }
        plan->of[field][count] = -1;
    }
    PyObject *capsule = PyCapsule_New(plan, "plan", forget_plan);
    if (capsule)
        return capsule;
large:
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "plan: more paths than there is room for");
failed:
    free(plan->text);
    free(plan);
    return NULL;
}
