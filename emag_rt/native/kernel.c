/* The hot path of serving: front end and folded field, one sample or a block at a time.
 *
 * NumPy costs about a microsecond a call when its code is in the caches, and several times that
 * after the sleep between two samples of a live stream. These functions do the same sums as
 * emag_rt.frontend.filters, emag_rt.render.packed and emag_rt.render.hidden, which stay the
 * reference and the fallback. All memory belongs to NumPy arrays of the caller; nothing is
 * allocated here. Structures are mirrored in emag_rt/native/library.py.
 *
 * Rows of channels or units are float32, padded with zeros to multiples of PADDING.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define PADDING 16 /* floats: rows are whole multiples of it */
#define BLOCK 32   /* samples that are worked on together */
#define PANEL 4096 /* floats of a matrix that stay in the first cache */

/* Floats in a vector register, and rows of a product that are worked on together so that all sums
 * stay in registers: 32 of these with AVX-512 and on ARM, 16 otherwise. A vector wider than the
 * register is split by way of memory, which took eight times as long. */
#if defined(__AVX512F__)
#define LANES 16
#define TALL 8
#define WIDE 4
#elif defined(__AVX__)
#define LANES 8
#define TALL 6
#define WIDE 8
#elif defined(__aarch64__)
#define LANES 4
#define TALL 8
#define WIDE 8
#else
#define LANES 4
#define TALL 4
#define WIDE 8
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

/* The widest x86-64 level that this machine has, with all that compilers may use of it: 4
 * (AVX-512), 3 (AVX2) or 1. The CPU is asked itself: __builtin_cpu_supports is always false where
 * a library is made by zig. */
int64_t emag_cpu_level(void) {
#if defined(__x86_64__)
    unsigned a, b, c1, b7, c7, d, ext, low, high;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d) ||
        !__get_cpuid(0x80000001, &a, &b, &ext, &d))
        return 1;
    const unsigned first = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C;
    const unsigned second = bit_AVX2 | bit_BMI | bit_BMI2;
    if ((c1 & first) != first || (b7 & second) != second || !(ext & bit_LZCNT)) return 1;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* what the system saves of registers */
    if ((low & 0x06) != 0x06) return 1;
    const unsigned third = bit_AVX512F | bit_AVX512VL | bit_AVX512BW | bit_AVX512DQ | bit_AVX512CD;
    return (b7 & third) == third && (low & 0xe0) == 0xe0 ? 4 : 3;
#else
    return 1;
#endif
}

INLINE vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

INLINE vec spread(float x) { return x - (vec){0}; }

/* ---- matrix product ------------------------------------------------------------------- */

/* c (m, v vectors) += a (m, k) b (k, v vectors); strides in floats, m and v small constants. */
INLINE void tile(int m, int v, int64_t k, const float *a, int64_t lda, const float *b,
                 int64_t ldb, float *c, int64_t ldc) {
    vec sum[TALL][WIDE];
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) sum[i][j] = load(c + i * ldc + j * LANES);
    for (int64_t l = 0; l < k; l++) {
        vec row[WIDE];
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) row[j] = load(b + l * ldb + j * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < m; i++) {
            vec x = spread(a[i * lda + l]);
#pragma GCC unroll 8
            for (int j = 0; j < v; j++) sum[i][j] += x * row[j];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) store(c + i * ldc + j * LANES, sum[i][j]);
}

INLINE void columns_of_tiles(int m, int64_t k, int64_t n, const float *a, int64_t lda,
                             const float *b, int64_t ldb, float *c, int64_t ldc) {
    int64_t j = 0;
    if (m == 1)
        for (; j + WIDE * LANES <= n; j += WIDE * LANES)
            tile(m, WIDE, k, a, lda, b + j, ldb, c + j, ldc);
    for (; j + 2 * LANES <= n; j += 2 * LANES) tile(m, 2, k, a, lda, b + j, ldb, c + j, ldc);
    for (; j < n; j += LANES) tile(m, 1, k, a, lda, b + j, ldb, c + j, ldc);
}

/* c (m, n) += a (m, k) b (k, n); n whole vectors; ldb may be negative: rows back in time.
 * Not inlined: its code should be in the cache once. */
static __attribute__((noinline)) void add_product(int64_t m, int64_t k, int64_t n,
                                                  const float *a, int64_t lda, const float *b,
                                                  int64_t ldb, float *c, int64_t ldc) {
    /* So many rows of b at a time as the first cache holds: each is fetched once, in order. */
    const int64_t most = PANEL / n > 8 ? PANEL / n : 8;
    for (; k > 0; k -= most, a += most, b += most * ldb) {
        const int64_t some = k < most ? k : most;
        int64_t i = 0;
        for (; i + TALL <= m && (TALL == 8 || i + 8 != m); i += TALL) /* 8 are twice 4 */
            columns_of_tiles(TALL, some, n, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
        for (; i + 4 <= m; i += 4)
            columns_of_tiles(4, some, n, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
        for (; i + 2 <= m; i += 2)
            columns_of_tiles(2, some, n, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
        for (; i < m; i++)
            columns_of_tiles(1, some, n, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
    }
}

/* ---- activations ---------------------------------------------------------------------- */

/* erf(u) = u P(u^2) / Q(u^2) on |u| <= 4, where float32 reaches 1: least squares reweighted
 * towards equal relative errors, 2.5e-8 at most before rounding. */
INLINE vec gelu(vec x) {
    const vec top = spread(4.0f), root = spread(0.70710678f);
    vec u = x * root;
    u = (vec)(((ivec)u & (ivec)(u < top)) | ((ivec)top & (ivec)(u >= top)));
    u = (vec)(((ivec)u & (ivec)(u > -top)) | ((ivec)(-top) & (ivec)(u <= -top)));
    vec s = u * u;
    vec p = spread(1.986779619e-06f);
    p = p * s + 2.845674239e-04f;
    p = p * s + 3.883392535e-03f;
    p = p * s + 5.310189681e-02f;
    p = p * s + 1.935461297e-01f;
    p = p * s + 1.128379139e+00f;
    vec q = spread(3.742022687e-05f);
    q = q * s + 1.185583728e-03f;
    q = q * s + 1.520734794e-02f;
    q = q * s + 1.153504501e-01f;
    q = q * s + 5.048583469e-01f;
    q = q * s + 1.0f;
    return 0.5f * x * (1.0f + u * p / q);
}

INLINE void activate(int64_t relu, float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        vec v = load(x + i);
        if (relu)
            v = (vec)((ivec)v & (ivec)(v > spread(0.0f)));
        else
            v = gelu(v);
        store(x + i, v);
    }
}

/* ---- rings ---------------------------------------------------------------------------- */

/* Rows of a stream, each written twice, `size` rows apart: any `size` newest ones are
 * contiguous, and nothing is ever moved. */
typedef struct {
    float *rows;
    int64_t size, width;
} ring;

INLINE float *row_at(const ring *r, int64_t time) {
    return r->rows + (time % r->size + r->size) * r->width;
}

INLINE void put(const ring *r, int64_t time, const float *row) {
    float *at = r->rows + (time % r->size) * r->width;
    memcpy(at, row, sizeof(float) * r->width);
    memcpy(at + r->size * r->width, row, sizeof(float) * r->width);
}

/* ---- front end ------------------------------------------------------------------------ */

typedef struct {
    int64_t n_inputs, n_ld, n_sections;
    const int64_t *columns; /* n_ld: input column of each LD channel */
    const double *gains;    /* n_ld: to microvolts */
    const double *sections; /* n_sections x 5: b0 b1 b2 a1 a2 */
    double *state;          /* 2 n_sections x n_ld, transposed direct form II */
    const double *offset;   /* n_ld: first sample, taken off */
    double *last;           /* n_ld: newest raw value */
    double rail, step;
} front_end;

/* Filter a chunk. Returns 0, with nothing changed, if a value is not finite, beyond the rail, or
 * further than a step from the one before. */
int64_t emag_filter(const front_end *f, const void *samples, int64_t is_float, int64_t n,
                           double *raw, double *filtered, double *out) {
    const int64_t n_ld = f->n_ld;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < n_ld; c++) {
            int64_t at = i * f->n_inputs + f->columns[c];
            double v = is_float ? ((const float *)samples)[at] : ((const double *)samples)[at];
            v *= f->gains[c];
            double before = i ? raw[(i - 1) * n_ld + c] : f->last[c];
            if (!(fabs(v) <= f->rail && fabs(v - before) <= f->step)) return 0;
            raw[i * n_ld + c] = v;
        }
    for (int64_t i = 0; i < n; i++) {
        double *y = out + i * n_ld;
        for (int64_t c = 0; c < n_ld; c++) y[c] = raw[i * n_ld + c] - f->offset[c];
        for (int64_t s = 0; s < f->n_sections; s++) {
            const double *b = f->sections + 5 * s;
            double *first = f->state + 2 * s * n_ld, *second = first + n_ld;
            for (int64_t c = 0; c < n_ld; c++) {
                double x = y[c], o = b[0] * x + first[c];
                first[c] = b[1] * x - b[3] * o + second[c];
                second[c] = b[2] * x - b[4] * o;
                y[c] = o;
            }
        }
    }
    if (out != filtered) memcpy(filtered, out, sizeof(double) * n * n_ld);
    if (n) memcpy(f->last, raw + (n - 1) * n_ld, sizeof(double) * n_ld);
    return 1;
}

/* ---- the folded field ----------------------------------------------------------------- */

/* Lags first, first + stride, ... of the LD channels, smoothed to that stride. */
typedef struct {
    int64_t first, stride, n_lags;
    const float *taps; /* n_taps x n_lags */
    const ring *rows;  /* of the level with that stride */
} segment;

/* One lag of a segment, for what has come since the newest sample that was prepared for. */
typedef struct {
    int64_t lag;
    const ring *rows;     /* of its level */
    const float *weights; /* n_in x width_out */
} near_lag;

typedef struct {
    int64_t dilation;
    const float *old, *now; /* n_nets x n_units x n_units: inputs by outputs */
    const float *bias;      /* width */
    const float *mix;       /* n_nets x n_units x n_units: inputs by outputs */
    const float *mix_bias;  /* width */
    float *prepared;        /* BLOCK x width: bias and what `dilation` samples ago adds */
    ring rows;
} dilated;

typedef struct {
    int64_t n_ld, n_in, n_out, width_out, n_taps; /* n_in, width_out: padded */
    int64_t n_segments, n_levels, n_smooth;
    const segment *segments; /* the first holds lag 0, no other does */
    const ring *levels;      /* LD channels, smoothed once more from level to level */
    const float *smooth;     /* n_smooth: from a level to the next, at the finer one's stride */
    const float *weights; /* n_taps n_in x width_out */
    const float *bias;    /* width_out */
    int64_t n_near;
    const near_lag *near; /* lags under BLOCK, rising */
    int64_t n_measured;
    const int64_t *rows, *columns; /* n_measured: outputs passed through, and their LD channel */
    int64_t look_ahead;
    double *delay; /* (look_ahead + BLOCK) x (n_ld + 1): LD channels and their mean */
    int64_t n_blocks, n_nets, n_units, relu, width;
    int64_t n_encoder, n_encoder_lags;
    const float *encoder;    /* n_encoder x n_encoder_lags */
    const float *first;      /* n_encoder n_in x width */
    const float *first_bias; /* width */
    const dilated *blocks;
    int64_t n_read, n_read_lags; /* n_read 0: the readout takes the units as they are */
    const float *read_taps;      /* n_read x n_read_lags */
    ring units;
    const float *readout; /* max(n_read, 1) width x width_out */
    float *x;        /* BLOCK x n_in: scratch from here on */
    float *z;        /* BLOCK x the largest of n_taps n_in, n_encoder n_in and n_read width */
    float *h, *inner; /* BLOCK x width */
    float *out;      /* BLOCK x width_out */
    float *prepared; /* BLOCK x width_out: of the next samples, what does not need them */
    int64_t time, n_prepared; /* rows in both `prepared` */
} field;

/* z (n_taps, n_in) = what the lags see `ahead` samples after the newest row: those that are not
 * less than `ahead`, as what they look at has come already. */
INLINE void see_lags(const field *f, int64_t time, int64_t ahead, float *z) {
    memset(z, 0, sizeof(float) * f->n_taps * f->n_in);
    for (int64_t j = 0; j < f->n_segments; j++) {
        const segment *s = f->segments + j;
        const int64_t early = ahead - s->first;
        const int64_t skip = early > 0 ? (early + s->stride - 1) / s->stride : 0;
        if (skip >= s->n_lags) continue;
        const float *begin =
            row_at(s->rows, time) + (ahead - s->first - skip * s->stride) * f->n_in;
        add_product(f->n_taps, s->n_lags - skip, f->n_in, s->taps + skip, s->n_lags, begin,
                    -s->stride * f->n_in, z, f->n_in);
    }
}

/* Append a row to every level: each smooths the one before it. */
INLINE void put_levels(const field *f, int64_t time, const float *x) {
    float smoothed[4096];
    put(f->levels, time, x);
    int64_t step = 1;
    for (int64_t j = 1; j < f->n_levels; j++, step *= 2) {
        const float *newest = row_at(f->levels + j - 1, time);
        memset(smoothed, 0, sizeof(float) * f->n_in);
        add_product(1, f->n_smooth, f->n_in, f->smooth, f->n_smooth, newest, -step * f->n_in,
                    smoothed, f->n_in);
        put(f->levels + j, time, smoothed);
    }
}

/* One matrix a network: c (m, width) += a (m, width) w, block by block. */
INLINE void add_by_net(const field *f, int64_t m, const float *a, const float *w, float *c) {
    const int64_t u = f->n_units;
    for (int64_t k = 0; k < f->n_nets; k++)
        add_product(m, u, u, a + k * u, f->width, w + k * u * u, u, c + k * u, f->width);
}

INLINE void fill_rows(float *rows, int64_t m, const float *row, int64_t width) {
    for (int64_t i = 0; i < m; i++) memcpy(rows + i * width, row, sizeof(float) * width);
}

/* Hidden units of m samples, the newest at f->time + m - 1, into f->h. */
INLINE void run_blocks(const field *f, int64_t m) {
    const int64_t w = f->width;
    float *h = f->h, *inner = f->inner;
    for (int64_t b = 0; b < f->n_blocks; b++) {
        const dilated *d = f->blocks + b;
        for (int64_t i = 0; i < m; i++) put(&d->rows, f->time + i, h + i * w);
        const int64_t known = !f->n_prepared ? 0 : m < d->dilation ? m : d->dilation;
        memcpy(inner, d->prepared, sizeof(float) * known * w);
        fill_rows(inner + known * w, m - known, d->bias, w);
        const float *old = row_at(&d->rows, f->time + m - 1) - (m - 1 + d->dilation) * w;
        add_by_net(f, m - known, old + known * w, d->old, inner + known * w);
        add_by_net(f, m, h, d->now, inner);
        activate(f->relu, inner, m * w);
        for (int64_t i = 0; i < m; i++)
            for (int64_t k = 0; k < w; k += LANES)
                store(h + i * w + k, load(h + i * w + k) + load(d->mix_bias + k));
        add_by_net(f, m, inner, d->mix, h);
    }
    activate(f->relu, h, m * w);
    if (f->n_read)
        for (int64_t i = 0; i < m; i++) put(&f->units, f->time + i, h + i * w);
}

INLINE void run_hidden(const field *f, int64_t m) {
    fill_rows(f->h, m, f->first_bias, f->width);
    const int64_t n_z = f->n_encoder * f->n_in;
    memset(f->z, 0, sizeof(float) * m * n_z);
    for (int64_t i = 0; i < m; i++)
        add_product(f->n_encoder, f->n_encoder_lags, f->n_in, f->encoder, f->n_encoder_lags,
                    row_at(f->levels, f->time + i), -f->n_in, f->z + i * n_z, f->n_in);
    add_product(m, n_z, f->width, f->z, n_z, f->first, f->width, f->h, f->width);
    run_blocks(f, m);
}

/* Add to f->out what m samples' units in f->h are read out as. */
INLINE void read_out(const field *f, int64_t m) {
    const float *units = f->h;
    int64_t n = f->width;
    if (f->n_read) {
        n *= f->n_read;
        memset(f->z, 0, sizeof(float) * m * n);
        for (int64_t i = 0; i < m; i++) {
            add_product(f->n_read, f->n_read_lags, f->width, f->read_taps, f->n_read_lags,
                        row_at(&f->units, f->time + i), -f->width, f->z + i * n, f->width);
        }
        units = f->z;
    }
    add_product(m, n, f->width_out, units, n, f->readout, f->width_out, f->out, f->width_out);
}

/* All of the next m samples' work that does not need them. */
INLINE void prepare(field *f, int64_t m) {
    const int64_t newest = f->time - 1, n_z = f->n_taps * f->n_in;
    for (int64_t i = 0; i < m; i++) see_lags(f, newest, i + 1, f->z + i * n_z);
    fill_rows(f->prepared, m, f->bias, f->width_out);
    add_product(m, n_z, f->width_out, f->z, n_z, f->weights, f->width_out, f->prepared,
                f->width_out);
    for (int64_t b = 0; b < f->n_blocks; b++) {
        const dilated *d = f->blocks + b;
        const int64_t known = m < d->dilation ? m : d->dilation;
        fill_rows(d->prepared, known, d->bias, f->width);
        add_by_net(f, known, row_at(&d->rows, newest) + (1 - d->dilation) * f->width, d->old,
                   d->prepared);
    }
    f->n_prepared = m;
}

/* Do now what the next m samples, up to BLOCK, would otherwise wait for. */
void emag_prepare(field *f, int64_t m) {
    if (f->n_prepared < m) prepare(f, m);
}

INLINE void linear(const field *f, int64_t m) {
    if (f->n_prepared) {
        memcpy(f->out, f->prepared, sizeof(float) * m * f->width_out);
        for (int64_t j = 0; j < f->n_near && f->near[j].lag < m; j++) {
            const near_lag *l = f->near + j;
            const float *begin = row_at(l->rows, f->time + m - 1) - (m - 1) * f->n_in;
            add_product(m - l->lag, f->n_in, f->width_out, begin, f->n_in, l->weights,
                        f->width_out, f->out + l->lag * f->width_out, f->width_out);
        }
        return;
    }
    fill_rows(f->out, m, f->bias, f->width_out);
    const int64_t n_z = f->n_taps * f->n_in;
    for (int64_t i = 0; i < m; i++) see_lags(f, f->time + i, 0, f->z + i * n_z);
    add_product(m, n_z, f->width_out, f->z, n_z, f->weights, f->width_out, f->out, f->width_out);
}

/* Keep a sample for its own output, and centre it. */
INLINE void take(const field *f, const double *ld, int64_t time, float *x) {
    double mean = 0.0;
    for (int64_t c = 0; c < f->n_ld; c++) mean += ld[c];
    mean /= (double)f->n_ld;
    for (int64_t c = 0; c < f->n_ld; c++) x[c] = (float)(ld[c] - mean);
    double *row = f->delay + time % (f->look_ahead + BLOCK) * (f->n_ld + 1);
    memcpy(row, ld, sizeof(double) * f->n_ld);
    row[f->n_ld] = mean;
}

/* Add the mean of the sample that an output row belongs to, and pass measured channels on. */
INLINE void finish(const field *f, const float *out, int64_t time, float *hd) {
    const double *then =
        f->delay + (time - f->look_ahead) % (f->look_ahead + BLOCK) * (f->n_ld + 1);
    const float mean = (float)then[f->n_ld];
    for (int64_t k = 0; k < f->n_out; k++) hd[k] = out[k] + mean;
    for (int64_t k = 0; k < f->n_measured; k++) hd[f->rows[k]] = (float)then[f->columns[k]];
}

/* Render n samples of filtered LD channels (n, n_ld) to hd (n, n_out); hd NULL: only move on. */
void emag_render(field *f, const double *ld, int64_t n, float *hd) {
    for (int64_t start = 0, m; start < n; start += m) {
        m = n - start < BLOCK ? n - start : BLOCK;
        if (m == 1 && hd && !f->n_prepared) prepare(f, 1);
        if (2 * f->n_prepared < m)
            f->n_prepared = 0; /* too little of it to be worth a block of its own */
        else if (f->n_prepared < m)
            m = f->n_prepared;
        for (int64_t i = 0; i < m; i++) {
            take(f, ld + (start + i) * f->n_ld, f->time + i, f->x + i * f->n_in);
            put_levels(f, f->time + i, f->x + i * f->n_in);
        }
        if (hd) linear(f, m);
        if (f->n_blocks) run_hidden(f, m);
        if (hd) {
            if (f->n_blocks) read_out(f, m);
            for (int64_t i = 0; i < m; i++)
                finish(f, f->out + i * f->width_out, f->time + i, hd + (start + i) * f->n_out);
        }
        f->time += m;
        f->n_prepared = 0;
    }
}

/* Front end and field in one call; returns 0, with nothing changed, as emag_filter does. */
int64_t emag_step(const front_end *e, field *f, const double *samples, int64_t n, double *raw,
                  double *filtered, float *hd) {
    if (!emag_filter(e, samples, 0, n, raw, filtered, filtered)) return 0;
    emag_render(f, filtered, n, hd);
    return 1;
}

/* What library.py must have right: sizes of both structures, of blocks and of padding. */
int64_t emag_layout(void) {
    return ((int64_t)sizeof(field) << 32) | (sizeof(front_end) << 16) | (BLOCK << 8) | PADDING;
}
