/* A plan is built once for each shard's reader; Python keeps it in a capsule. */

#include "paths.h"

static void forget_trie(PyObject *capsule)
{
    PathTrie *trie = PyCapsule_GetPointer(capsule, "paths");
    if (trie) {
        free(trie->text);
        free(trie);
    }
}

/* paths(nodes, fields, hash_missing, formats, max_bytes): nodes is a list of lists of (key as bytes, node or -1, path or -1); fields a list
   of four lists of paths. One that is too large raises ValueError. */
PyObject *native_paths(PyObject *module, PyObject *args)
{
    PyObject *nodes, *fields;
    int hash_missing, formats = 0;
    long long max_bytes = INT64_MAX;
    PathTrie *trie = calloc(1, sizeof *trie);
    size_t used = 0, room = 1 << 16;
    (void)module;
    if (!trie || !(trie->text = malloc(room))) {
        free(trie);
        return PyErr_NoMemory();
    }
    if (!PyArg_ParseTuple(args, "O!O!p|pL", &PyList_Type, &nodes, &PyList_Type, &fields, &hash_missing, &formats, &max_bytes))
        goto failed;
    trie->count = (int)PyList_Size(nodes);
    trie->hash_missing = hash_missing;
    trie->formats = formats;
    trie->max_bytes = max_bytes;
    if (trie->count < 1 || trie->count > NODES || PyList_Size(fields) != FIELDS)
        goto large;
    for (int at = 0; at < trie->count; at++) {
        PyObject *keys = PyList_GetItem(nodes, at);
        Node *node = &trie->nodes[at];
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
            if (used + (size_t)size > room || to >= trie->count || path >= PATHS || (to < 0) == (path < 0))
                goto large;
            memcpy(trie->text + used, text, (size_t)size);
            node->keys[node->count] = (Key){trie->text + used, (size_t)size, (int16_t)to, (int16_t)path};
            node->sizes |= (uint64_t)1 << (size & 63);
            if (path >= 0 && (size_t)path >= trie->paths)
                trie->paths = (size_t)path + 1;
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
            if ((size_t)path >= trie->paths)
                trie->paths = (size_t)path + 1;
            trie->of[field][at] = (int8_t)path;
        }
        trie->of[field][count] = -1;
    }
    PyObject *capsule = PyCapsule_New(trie, "paths", forget_trie);
    if (capsule)
        return capsule;
large:
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "paths: too many paths");
failed:
    free(trie->text);
    free(trie);
    return NULL;
}
