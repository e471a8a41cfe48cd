/* The inner loops of the exact mean for float32, each in one pass; what they compute is said in sums.py and dtypes.py, bit for bit.
 *
 * numpy takes five passes over a block, and the interpreter's lock as often. Built with contraction off: a fused multiply-add would round
 * once where sums.py rounds twice.
 */
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "safetensors are little-endian: numpy converts them, this would not"
#endif

#ifndef WIDEST
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif
#endif

static const double ROUNDER = 6755399441055744.0; /* 1.5 * 2**52 */

static inline uint64_t term(float value, double factor)
{
    double rounded = (double)value * factor + ROUNDER;
    uint64_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

WIDEST void fedcore_begin_f32(uint64_t *restrict sums, const float *restrict values, int64_t count, double factor)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] = term(values[i], factor);
}

WIDEST void fedcore_add_f32(uint64_t *restrict sums, const float *restrict values, int64_t count, double factor)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] += term(values[i], factor);
}

WIDEST void fedcore_mean_f32(const uint64_t *restrict sums, float *restrict means, int64_t count, uint64_t constant, double divisor)
{
    for (int64_t i = 0; i < count; i++)
        means[i] = (float)((double)(int64_t)(sums[i] - constant) / divisor);
}

WIDEST uint32_t fedcore_peak_f32(const uint32_t *restrict bits, int64_t count)
{
    uint32_t peak = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t magnitude = bits[i] & 0x7fffffffu;
        peak = magnitude > peak ? magnitude : peak;
    }
    return peak;
}

WIDEST uint64_t fedcore_sum64(const uint64_t *restrict words, int64_t count)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += words[i];
    return sum;
}
