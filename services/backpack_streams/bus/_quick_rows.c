/* Encodes flat records (no arrays, no nested records) from a dict to Avro bytes: as the schema's engine, in a fraction of the time.

   `encode` returns None for a record that does not fit the schema or is unusual (a field too many, a missing field, a number
   with an exponent). The Python code then encodes it or raises. */

#define PY_SSIZE_T_CLEAN
#include "quick_numbers.h"
#include <string.h>

#define ROOM 2048 /* bytes of a record; longer ones are left to the Python code */

typedef struct {
    uint8_t *at, *end;
} output_t;

static int put_bytes(output_t *out, const char *bytes, Py_ssize_t size)
{
    if (size > out->end - out->at - LONG_BYTES_AT_MOST)
        return 0;
    out->at = put_long(out->at, size);
    memcpy(out->at, bytes, size);
    out->at += size;
    return 1;
}

static int put_text(output_t *out, PyObject *text)
{
    Py_ssize_t size;
    const char *bytes;
    if (!PyUnicode_CheckExact(text))
        return 0;
    bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (!bytes) {
        PyErr_Clear(); /* a surrogate: the engine raises for it */
        return 0;
    }
    return put_bytes(out, bytes, size);
}

static int put_decimal(output_t *out, PyObject *value, int scale)
{
    if (PyBytes_CheckExact(value))
        return put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    if (out->end - out->at < NUMBER_BYTES_AT_MOST)
        return 0;
    uint8_t *after = put_number(out->at, value, scale);
    if (after)
        out->at = after;
    return after != NULL;
}

/* Writes a value that is not null. `kind` is a letter from quick_rows.py. */
static int put_value(output_t *out, PyObject *value, char kind, int scale)
{
    int64_t number;
    switch (kind) {
    case 's':
        return put_text(out, value);
    case 'i':
    case 'l':
        if (!is_long(value, &number) || (kind == 'i' && (number < INT32_MIN || number > INT32_MAX)) ||
            out->end - out->at < LONG_BYTES_AT_MOST)
            return 0;
        out->at = put_long(out->at, number);
        return 1;
    case 'b':
        if ((value != Py_True && value != Py_False) || out->at == out->end)
            return 0;
        *out->at++ = value == Py_True;
        return 1;
    case 'd':
        return put_decimal(out, value, scale);
    default:
        return 0;
    }
}

/* encode(header, names, kinds, row): `names` is a tuple, `kinds` three bytes per field: its type, 1 if null is allowed, its scale. */
static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4 || !PyBytes_CheckExact(args[0]) || !PyTuple_CheckExact(args[1]) || !PyBytes_CheckExact(args[2]) ||
        PyBytes_GET_SIZE(args[2]) != 3 * PyTuple_GET_SIZE(args[1])) {
        PyErr_SetString(PyExc_TypeError, "encode takes header, names, kinds, row");
        return NULL;
    }
    PyObject *header = args[0], *names = args[1], *row = args[3];
    Py_ssize_t fields = PyTuple_GET_SIZE(names);
    const char *kinds = PyBytes_AS_STRING(args[2]);
    uint8_t on_stack[ROOM];
    output_t out = {on_stack, on_stack + ROOM};
    if (!PyDict_CheckExact(row) || PyDict_GET_SIZE(row) != fields || PyBytes_GET_SIZE(header) > ROOM)
        Py_RETURN_NONE;
    memcpy(out.at, PyBytes_AS_STRING(header), PyBytes_GET_SIZE(header));
    out.at += PyBytes_GET_SIZE(header);
    for (Py_ssize_t i = 0; i < fields; i++, kinds += 3) {
        PyObject *value = PyDict_GetItemWithError(row, PyTuple_GET_ITEM(names, i));
        if (!value) {
            if (PyErr_Occurred())
                return NULL;
            Py_RETURN_NONE;
        }
        if (kinds[1]) {
            if (out.at == out.end)
                Py_RETURN_NONE;
            *out.at++ = value == Py_None ? 0 : 2; /* the branch of ["null", type] */
            if (value == Py_None)
                continue;
        }
        if (!put_value(&out, value, kinds[0], kinds[2]))
            Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize((char *)on_stack, out.at - on_stack);
}

static PyMethodDef methods[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, "encode(header, names, kinds, row) -> bytes or None"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_quick_rows", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__quick_rows(void)
{
    return PyModuleDef_Init(&definition);
}
