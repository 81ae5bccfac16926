/* Avro's longs and decimals, for the C modules in this folder.

   Avro specification: "Binary Encoding" (zigzag, variable length), "Decimal" (big-endian two's complement). */

#ifndef BACKPACK_STREAMS_QUICK_NUMBERS_H
#define BACKPACK_STREAMS_QUICK_NUMBERS_H

#include <Python.h>
#include <stdint.h>

#define DIGITS_AT_MOST 38
#define SCALE_AT_MOST 30
#define NUMBER_BYTES_AT_MOST 18 /* 17 for the number and one for its length */
#define LONG_BYTES_AT_MOST 10

typedef unsigned __int128 number_t;

static const uint64_t POWER[] = {
    1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
    10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL, 1000000000000000ULL,
    10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL};
#define POWERS 18 /* the largest in the table */

static inline uint8_t *put_long(uint8_t *out, int64_t value)
{
    uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (zigzag > 0x7F) {
        *out++ = (uint8_t)(zigzag | 0x80);
        zigzag >>= 7;
    }
    *out++ = (uint8_t)zigzag;
    return out;
}

/* Writes a number's text, in units of 10**-scale, as Avro bytes after their length. NULL, so that Python decides, unless the text is
   an optional minus and digits with at most one point, with at most 38 - scale digits before it. */
static inline uint8_t *put_number(uint8_t *out, PyObject *text, int scale)
{
    if (!PyUnicode_CheckExact(text) || PyUnicode_READY(text) < 0 || !PyUnicode_IS_ASCII(text))
        return NULL;
    const uint8_t *in = PyUnicode_1BYTE_DATA(text), *end = in + PyUnicode_GET_LENGTH(text), *point = NULL;
    int negative = in < end && *in == '-';
    in += negative;
    if (end - in > DIGITS_AT_MOST + 1)
        return NULL;
    number_t value = 0;
    const uint8_t *first = in;
    for (; in < end; in++) {
        unsigned digit = (unsigned)*in - '0';
        if (digit <= 9)
            value = value * 10 + digit;
        else if (*in == '.' && !point)
            point = in;
        else
            return NULL;
    }
    Py_ssize_t whole = (point ? point : end) - first, places = point ? end - point - 1 : 0;
    if (whole > DIGITS_AT_MOST - scale || places > scale || whole + places == 0)
        return NULL;
    int missing = scale - (int)places;
    if (missing > POWERS) {
        value *= POWER[POWERS];
        missing -= POWERS;
    }
    value *= POWER[missing];
    if (negative)
        value = -value;
    /* Enough bytes for the sign bit as well; a negative number takes as many as its complement. */
    number_t magnitude = negative && value ? ~value : value;
    int length = 1;
    for (number_t rest = magnitude >> 7; rest; rest >>= 8)
        length++;
    *out++ = (uint8_t)(length << 1);
    for (int shift = 8 * (length - 1); shift >= 0; shift -= 8)
        *out++ = (uint8_t)(value >> shift);
    return out;
}

/* Whether an object is an int (not a bool) of at most 64 bits. */
static inline int is_long(PyObject *object, int64_t *value)
{
    int overflow = 0;
    if (!PyLong_CheckExact(object))
        return 0;
    *value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow;
}

#endif
