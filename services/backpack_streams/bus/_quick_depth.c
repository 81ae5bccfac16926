/* Converts DepthUpdate records between text and Avro bytes: as quick_depth.py, for usual records, in a tenth of the time.

   Both functions return None for unusual input (a sign, an exponent, a number with too many digits, an array in several
   blocks, truncated bytes). The Python code then handles it or raises. This module thus decides only the bytes of usual
   records, and quick_depth.py compares those with the schema's engine before it uses this module.

   Avro specification: "Binary Encoding" (zigzag, variable length, blocks of arrays), "Decimal" (big-endian two's complement). */

#define PY_SSIZE_T_CLEAN
#include "quick_numbers.h"
#include <string.h>

#define SCALE 18
#define ON_STACK 4096

/* ---- writing ---- */

/* Writes one side. `levels` is a list. NULL if its items are not pairs of plain numbers. */
static uint8_t *put_levels(uint8_t *out, PyObject *levels)
{
    Py_ssize_t count = PyList_GET_SIZE(levels);
    if (count) {
        out = put_long(out, count);
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *level = PyList_GET_ITEM(levels, i);
            if (!PyTuple_CheckExact(level) || PyTuple_GET_SIZE(level) != 2)
                return NULL;
            for (int part = 0; part < 2; part++) {
                out = put_number(out, PyTuple_GET_ITEM(level, part), SCALE);
                if (!out)
                    return NULL;
            }
        }
    }
    *out++ = 0;
    return out;
}

static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 8 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "encode takes head, event_time, engine_time, received_time, first_id, last_id, bids, asks");
        return NULL;
    }
    int64_t event_time, engine_time = 0, received_time, first_id, last_id;
    int has_engine_time = args[2] != Py_None;
    if (!is_long(args[1], &event_time) || (has_engine_time && !is_long(args[2], &engine_time)) ||
        !is_long(args[3], &received_time) || !is_long(args[4], &first_id) || !is_long(args[5], &last_id))
        Py_RETURN_NONE;
    Py_ssize_t levels = 0;
    for (int side = 6; side < 8; side++) {
        if (args[side] == Py_None)
            continue;
        if (!PyList_CheckExact(args[side]))
            Py_RETURN_NONE;
        levels += PyList_GET_SIZE(args[side]);
    }
    Py_ssize_t head = PyBytes_GET_SIZE(args[0]);
    if (levels > (PY_SSIZE_T_MAX - head) / (2 * NUMBER_BYTES_AT_MOST) - 8 * LONG_BYTES_AT_MOST)
        Py_RETURN_NONE;
    Py_ssize_t room = head + 8 * LONG_BYTES_AT_MOST + 2 * NUMBER_BYTES_AT_MOST * levels;
    uint8_t on_stack[ON_STACK];
    uint8_t *start = room <= ON_STACK ? on_stack : PyMem_Malloc(room);
    if (!start)
        return PyErr_NoMemory();
    uint8_t *out = start;
    memcpy(out, PyBytes_AS_STRING(args[0]), head);
    out += head;
    *out++ = 2; /* the union branch with a value */
    out = put_long(out, event_time);
    *out++ = has_engine_time ? 2 : 0;
    if (has_engine_time)
        out = put_long(out, engine_time);
    out = put_long(out, received_time);
    out = put_long(out, first_id);
    out = put_long(out, last_id);
    for (int side = 6; side < 8 && out; side++) {
        if (args[side] == Py_None)
            *out++ = 0;
        else
            out = put_levels(out, args[side]);
    }
    PyObject *result = out ? PyBytes_FromStringAndSize((char *)start, out - start) : Py_NewRef(Py_None);
    if (start != on_stack)
        PyMem_Free(start);
    return result;
}

/* ---- reading ---- */

typedef struct {
    const uint8_t *at, *end;
    int failed;
} input_t;

static int64_t take_long(input_t *in)
{
    uint64_t zigzag = 0;
    for (int shift = 0; shift < 70 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        if (shift == 63 && byte > 1) /* more than 64 bits */
            break;
        zigzag |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
    }
    in->failed = 1;
    return 0;
}

/* Reads the branch of a nullable long; returns whether a value follows. */
static int take_branch(input_t *in)
{
    int64_t branch = take_long(in);
    if (branch != 0 && branch != 1)
        in->failed = 1;
    return branch == 1;
}

static const uint8_t *take_bytes(input_t *in, int64_t *size)
{
    *size = take_long(in);
    if (in->failed || *size < 0 || *size > in->end - in->at) {
        in->failed = 1;
        return NULL;
    }
    const uint8_t *bytes = in->at;
    in->at += *size;
    return bytes;
}

/* Skips text. Text that is not ASCII may be invalid UTF-8, so it is left to the Python code. */
static void skip_text(input_t *in)
{
    int64_t size;
    const uint8_t *text = take_bytes(in, &size);
    for (int64_t i = 0; text && i < size; i++)
        if (text[i] > 0x7F)
            in->failed = 1;
}

/* Reads a number in units of 10**-18 as a Python int. NULL with `failed` set: too many bytes; NULL without: a Python error. */
static PyObject *take_number(input_t *in)
{
    int64_t size;
    const uint8_t *bytes = take_bytes(in, &size);
    if (!bytes || size == 0 || size >= NUMBER_BYTES_AT_MOST) {
        in->failed = 1;
        return NULL;
    }
    if (size <= 8) {
        uint64_t value = bytes[0] & 0x80 ? ~0ULL : 0;
        for (int64_t i = 0; i < size; i++)
            value = value << 8 | bytes[i];
        return PyLong_FromLongLong((int64_t)value);
    }
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, (size_t)size, Py_ASNATIVEBYTES_BIG_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, (size_t)size, 0, 1);
#endif
}

static PyObject *take_levels(input_t *in)
{
    int64_t count = take_long(in);
    if (in->failed || count < 0 || count > (in->end - in->at) / 4) { /* a level takes at least four bytes */
        in->failed = 1;
        return NULL;
    }
    PyObject *levels = PyList_New((Py_ssize_t)count);
    if (!levels)
        return NULL;
    for (int64_t i = 0; i < count; i++) {
        PyObject *price = take_number(in);
        PyObject *quantity = price ? take_number(in) : NULL;
        PyObject *level = quantity ? PyTuple_New(2) : NULL;
        if (!level) {
            Py_XDECREF(price);
            Py_XDECREF(quantity);
            Py_DECREF(levels);
            return NULL;
        }
        PyTuple_SET_ITEM(level, 0, price);
        PyTuple_SET_ITEM(level, 1, quantity);
        PyList_SET_ITEM(levels, (Py_ssize_t)i, level);
    }
    if (count && take_long(in) != 0) /* a second block */
        in->failed = 1;
    if (in->failed) {
        Py_DECREF(levels);
        return NULL;
    }
    return levels;
}

static PyObject *decode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "decode takes value, start");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), size = PyBytes_GET_SIZE(args[0]);
    if (start == -1 && PyErr_Occurred())
        return NULL;
    if (start < 0 || start > size)
        Py_RETURN_NONE;
    const uint8_t *data = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    input_t in = {data + start, data + size, 0};
    skip_text(&in); /* symbol */
    skip_text(&in); /* source */
    if (take_branch(&in))
        take_long(&in); /* event time */
    int has_engine_time = take_branch(&in);
    int64_t engine_time = has_engine_time ? take_long(&in) : 0;
    take_long(&in); /* received time */
    int64_t first_id = take_long(&in), last_id = take_long(&in);
    PyObject *bids = in.failed ? NULL : take_levels(&in);
    PyObject *asks = bids ? take_levels(&in) : NULL;
    if (in.failed || (asks && in.at != in.end)) {
        Py_XDECREF(bids);
        Py_XDECREF(asks);
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    if (!asks) {
        Py_XDECREF(bids);
        return NULL;
    }
    if (has_engine_time)
        return Py_BuildValue("LLLNN", (long long)first_id, (long long)last_id, (long long)engine_time, bids, asks);
    return Py_BuildValue("LLONN", (long long)first_id, (long long)last_id, Py_None, bids, asks);
}

static PyMethodDef methods[] = {
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL,
     "encode(head, event_time, engine_time, received_time, first_id, last_id, bids, asks) -> bytes or None"},
    {"decode", (PyCFunction)(void (*)(void))decode, METH_FASTCALL,
     "decode(value, start) -> (first_id, last_id, engine_time, bids, asks) or None"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_quick_depth", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__quick_depth(void)
{
    return PyModuleDef_Init(&definition);
}
