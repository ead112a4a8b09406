#pragma once

// Depthwise convolution, forward and both gradients.

#include <memory>

#include "threads.h"
#include "vectors.h"

namespace ecanet {

struct Geometry {
  int64_t batch, in_h, in_w, channels, out_h, out_w, kernel_h, kernel_w, stride, top, left;
};

// The range of taps t in [0, kernel) with 0 <= at + t < size.
inline void Taps(int64_t at, int64_t kernel, int64_t size, int64_t* begin, int64_t* end) {
  *begin = std::max<int64_t>(0, -at);
  *end = std::min<int64_t>(kernel, size - at);
}

constexpr int kTile = 8;  // output pixels of a row that are summed together

// out[x] = sum over i, j of in[i][x * stride + j - left] * kernel[i][j] for x in [first, last); all
// taps are inside. `in` points at column 0 of the first row; rows are `row` apart.
template <typename V, int kStride, int kPixels, int kTaps, typename T>
inline void TileOf(const T* in, const T* kernel, T* out, int64_t rows, int64_t taps, int64_t row,
                   int64_t pixel, int64_t out_pixel, int64_t kernel_row, int64_t kernel_tap) {
  V sum[kPixels] = {};
  const int64_t count = kTaps ? kTaps : taps;
  for (int64_t i = 0; i < rows; ++i) {
    const T* line = in + i * row;
#pragma GCC unroll 7
    for (int64_t j = 0; j < count; ++j) {
      const V weight = Load<V>(kernel + i * kernel_row + j * kernel_tap);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        sum[p] += Load<V>(line + (p * kStride + j) * pixel) * weight;
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) Store<V>(out + p * out_pixel, sum[p]);
}

template <typename V, int kStride, int kTaps, typename T>
inline void RowOf(const T* in, const T* kernel, T* out, int64_t pixels, int64_t rows, int64_t taps,
                  int64_t row, int64_t pixel, int64_t out_pixel, int64_t kernel_row,
                  int64_t kernel_tap) {
  int64_t x = 0;
  for (; x + kTile <= pixels; x += kTile) {
    TileOf<V, kStride, kTile, kTaps>(in + x * kStride * pixel, kernel, out + x * out_pixel, rows,
                                     taps, row, pixel, out_pixel, kernel_row, kernel_tap);
  }
  if (x + 4 <= pixels) {
    TileOf<V, kStride, 4, kTaps>(in + x * kStride * pixel, kernel, out + x * out_pixel, rows, taps,
                                 row, pixel, out_pixel, kernel_row, kernel_tap);
    x += 4;
  }
  for (; x < pixels; ++x) {
    TileOf<V, kStride, 1, kTaps>(in + x * kStride * pixel, kernel, out + x * out_pixel, rows, taps,
                                 row, pixel, out_pixel, kernel_row, kernel_tap);
  }
}

template <typename V, int kStride, typename T>
inline void AnyRow(const T* in, const T* kernel, T* out, int64_t pixels, int64_t rows, int64_t taps,
                   int64_t row, int64_t pixel, int64_t out_pixel, int64_t kernel_row,
                   int64_t kernel_tap) {
  switch (taps) {
#define CASE(n)                                                                                \
  case n:                                                                                      \
    return RowOf<V, kStride, n>(in, kernel, out, pixels, rows, taps, row, pixel, out_pixel,    \
                                kernel_row, kernel_tap);
    CASE(1) CASE(2) CASE(3) CASE(5)
#undef CASE
    default:
      return RowOf<V, kStride, 0>(in, kernel, out, pixels, rows, taps, row, pixel, out_pixel,
                                  kernel_row, kernel_tap);
  }
}

// One row of a correlation: out[x] for x in [0, width). Pixel x sees the columns
// x * stride + offset + j of `in_w`, and `rows` rows beginning at `in`.
template <typename V, int kStride, typename T>
inline void Correlate(const T* in, const T* kernel, T* out, int64_t width, int64_t offset,
                      int64_t in_w, int64_t rows, int64_t taps, int64_t row, int64_t pixel,
                      int64_t out_pixel, int64_t kernel_row, int64_t kernel_tap) {
  // All taps are inside for the pixels [first, last).
  int64_t first = offset < 0 ? (-offset + kStride - 1) / kStride : 0;
  int64_t last = in_w - taps - offset < 0 ? 0 : (in_w - taps - offset) / kStride + 1;
  first = std::min(first, width);
  last = std::min(std::max(last, first), width);
  for (int64_t x = 0; x < width; x = (x + 1 == first && last > first) ? last : x + 1) {
    if (x >= first && x < last) { x = last - 1; continue; }
    int64_t begin, end;
    Taps(x * kStride + offset, taps, in_w, &begin, &end);
    const T* at = in + (x * kStride + offset + begin) * pixel;
    if (end <= begin || rows <= 0) {
      Store<V>(out + x * out_pixel, V{});
    } else {
      TileOf<V, 1, 1, 0>(at, kernel + begin * kernel_tap, out + x * out_pixel, rows, end - begin,
                         row, pixel, out_pixel, kernel_row, kernel_tap);
    }
  }
  if (last > first) {
    AnyRow<V, kStride>(in + (first * kStride + offset) * pixel, kernel, out + first * out_pixel,
                       last - first, std::max<int64_t>(rows, 0), taps, row, pixel, out_pixel,
                       kernel_row, kernel_tap);
  }
}

// out[x] = act(out[x] + bias) for the pixels of a row that is still in the cache.
template <int kActivation, typename V, typename T>
void AddBias(T* out, int64_t pixels, int64_t pixel, V bias) {
  V unused;
  for (int64_t x = 0; x < pixels; ++x, out += pixel) {
    Store<V>(out, Activate<kActivation, false>(Load<V>(out) + bias, &unused));
  }
}

template <typename T>
void ForwardRow(const Geometry& g, const T* x, const T* kernel, const T* bias, int64_t activation,
                T* y, int64_t n, int64_t h) {
  const int64_t row = g.in_w * g.channels;
  int64_t begin, end;
  const int64_t at = h * g.stride - g.top;
  Taps(at, g.kernel_h, g.in_h, &begin, &end);
  const T* in = x + (n * g.in_h + at + begin) * row;
  const T* k = kernel + begin * g.kernel_w * g.channels;
  T* out = y + (n * g.out_h + h) * g.out_w * g.channels;
  ForChannels<T>(g.channels, [&](auto v, int64_t c) {
    using V = decltype(v);
    auto correlate = g.stride == 1 ? Correlate<V, 1, T> : Correlate<V, 2, T>;
    correlate(in + c, k + c, out + c, g.out_w, -g.left, g.in_w, end - begin, g.kernel_w, row,
              g.channels, g.channels, g.kernel_w * g.channels, g.channels);
    auto add = activation == kSwish   ? AddBias<kSwish, V, T>
               : activation == kRelu  ? AddBias<kRelu, V, T>
               : activation == kRelu6 ? AddBias<kRelu6, V, T>
                                      : AddBias<kNone, V, T>;
    add(out + c, g.out_w, g.channels, Load<V>(bias + c));
  });
}

// Row r of the input's gradient, for `channels` channels. Tap i reaches it only if r + top - i is a
// multiple of the stride; likewise for columns. Each phase of columns is a correlation of the
// gradient with every stride-th tap, backwards.
template <typename T>
void InputGradientRow(const Geometry& g, const T* gradient, const T* kernel, T* dx, int64_t n,
                      int64_t r, int64_t channels) {
  const int64_t s = g.stride, row = g.out_w * g.channels, krow = g.kernel_w * g.channels;
  T* out = dx + (n * g.in_h + r) * g.in_w * g.channels;
  // Gradient rows `low` to `high`; their tap r + top - s * low falls by s from row to row.
  const int64_t high = std::min(g.out_h - 1, (r + g.top) / s);
  int64_t low = r + g.top - g.kernel_h + 1;
  low = low <= 0 ? 0 : (low + s - 1) / s;
  const int64_t rows = high - low + 1, tap = r + g.top - s * low;
  const T* in = gradient + (n * g.out_h + low) * row;
  for (int64_t phase = 0; phase < s; ++phase) {  // columns w of the input, (w + left) % s == phase
    int64_t w = ((phase - g.left) % s + s) % s;
    if (w >= g.in_w || phase >= g.kernel_w) {
      for (; w < g.in_w; w += s) std::fill_n(out + w * g.channels, channels, T(0));
      continue;
    }
    const int64_t taps = (g.kernel_w - phase + s - 1) / s, width = (g.in_w - w + s - 1) / s;
    // Column w sees the gradient's columns q, ..., q - taps + 1 through taps phase, phase + s, ...
    const int64_t q = (w + g.left - phase) / s;
    const int64_t last = phase + (taps - 1) * s;
    ForChannels<T>(channels, [&](auto v, int64_t c) {
      using V = decltype(v);
      Correlate<V, 1, T>(in + c, kernel + tap * krow + last * g.channels + c,
                         out + w * g.channels + c, width, q - taps + 1, g.out_w, rows, taps, row,
                         g.channels, s * g.channels, -s * krow, -s * g.channels);
    });
  }
}

// The kernel's gradient over the output lines [from, to), numbered through all images, at kTaps
// taps of kernel row i from j0 on; sum is [kernel_h, kernel_w, C].
template <typename V, int kTaps, int kStride, typename T>
inline void KernelGradientTaps(const Geometry& g, const T* x, const T* gradient, T* sum,
                               int64_t from, int64_t to, int64_t i, int64_t j0) {
  const int64_t row = g.in_w * g.channels, pixel = g.channels;
  V total[kTaps] = {};
  const int64_t offset = j0 - g.left;
  int64_t first = offset < 0 ? (-offset + kStride - 1) / kStride : 0;
  int64_t last = g.in_w - kTaps - offset < 0 ? 0 : (g.in_w - kTaps - offset) / kStride + 1;
  first = std::min(first, g.out_w);
  last = std::min(std::max(last, first), g.out_w);
  int64_t n = from / g.out_h, h = from % g.out_h;
  for (int64_t line = from; line < to; ++line) {
    const int64_t r = h * kStride + i - g.top;
    const T* in = x + (n * g.in_h + r) * row;
    const T* out = gradient + line * g.out_w * pixel;
    if (++h == g.out_h) { h = 0; ++n; }
    if (r < 0 || r >= g.in_h) continue;
    auto edge = [&](int64_t w) {
      const V value = Load<V>(out + w * pixel);
#pragma GCC unroll 7
      for (int j = 0; j < kTaps; ++j) {
        const int64_t column = w * kStride + offset + j;
        if (column >= 0 && column < g.in_w) total[j] += Load<V>(in + column * pixel) * value;
      }
    };
    for (int64_t w = 0; w < first; ++w) edge(w);
    for (int64_t w = first; w < last; ++w) {
      const V value = Load<V>(out + w * pixel);
      const T* at = in + (w * kStride + offset) * pixel;
#pragma GCC unroll 7
      for (int j = 0; j < kTaps; ++j) total[j] += Load<V>(at + j * pixel) * value;
    }
    for (int64_t w = last; w < g.out_w; ++w) edge(w);
  }
  for (int j = 0; j < kTaps; ++j) Store<V>(sum + (i * g.kernel_w + j0 + j) * pixel, total[j]);
}

// The same at all taps, for `channels` channels.
template <typename T>
void KernelGradientLines(const Geometry& g, const T* x, const T* gradient, T* sum, int64_t from,
                         int64_t to, int64_t channels) {
  ForChannels<T>(channels, [&](auto v, int64_t c) {
    using V = decltype(v);
    for (int64_t i = 0; i < g.kernel_h; ++i) {
      for (int64_t j = 0; j < g.kernel_w;) {
        const int64_t left = g.kernel_w - j;
#define TAPS(n_)                                                                               \
  if (left >= n_) {                                                                            \
    (g.stride == 1 ? KernelGradientTaps<V, n_, 1, T> : KernelGradientTaps<V, n_, 2, T>)(       \
        g, x + c, gradient + c, sum + c, from, to, i, j);                                      \
    j += n_;                                                                                   \
    continue;                                                                                  \
  }
        TAPS(5) TAPS(3) TAPS(1)
#undef TAPS
      }
    }
  });
}

// Rows of an image in one task: few enough to share tasks out evenly, enough to reuse the cache.
// Depends on shapes alone.
inline int64_t RowsOfTask(int64_t batch, int64_t rows) {
  const int64_t tasks = std::max<int64_t>(1, 32 / std::max<int64_t>(batch, 1));
  return std::max<int64_t>(1, (rows + tasks - 1) / tasks);
}

template <typename T>
void Forward(ffi::ThreadPool& pool, const Geometry& g, const T* x, const T* kernel, const T* bias,
             int64_t activation, T* y) {
  const int64_t rows = RowsOfTask(g.batch, g.out_h), tasks = (g.out_h + rows - 1) / rows;
  ParallelFor(pool, g.batch * tasks, [&](int64_t t) {
    const int64_t n = t / tasks, from = t % tasks * rows, to = std::min(g.out_h, from + rows);
    for (int64_t h = from; h < to; ++h) ForwardRow(g, x, kernel, bias, activation, y, n, h);
  }, Together(rows * g.out_w * g.channels));
}

// The lines are cut into kFewestSlices to kMostSlices slices, each with its own sums of the
// kernel's gradient, about kSliceSums values in all. If slices are few, channels are split, too.
constexpr int64_t kMostSlices = 32, kFewestSlices = 4, kSliceSums = 1 << 18, kPartChannels = 128;
constexpr int64_t kSumTogether = 1024;  // kernel values that one task adds up

template <typename T>
void Backward(ffi::ThreadPool& pool, const Geometry& g, const T* x, const T* kernel,
              const T* gradient, T* dx, T* dkernel) {
  const int64_t size = g.kernel_h * g.kernel_w * g.channels;
  const int64_t lines = g.batch * g.out_h, in_lines = g.batch * g.in_h;
  if (!lines) {
    std::fill_n(dkernel, size, T(0));
    std::fill_n(dx, in_lines * g.in_w * g.channels, T(0));
    return;
  }
  const int64_t fitting = kSliceSums / std::max<int64_t>(size, 1);
  const int64_t slices = std::min(lines, std::clamp(fitting, kFewestSlices, kMostSlices));
  const int64_t parts =
      std::max<int64_t>(1, std::min(kMostSlices / slices, g.channels / kPartChannels));
  const int64_t width = (g.channels / parts + 63) / 64 * 64;
  const std::unique_ptr<T[]> sums(new T[slices * size]);
  ParallelFor(pool, slices * parts, [&, sums = sums.get()](int64_t t) {
    const int64_t slice = t / parts, c = t % parts * width;
    const int64_t channels = std::min(g.channels - c, t % parts + 1 < parts ? width : g.channels);
    if (channels <= 0) return;
    KernelGradientLines(g, x + c, gradient + c, sums + slice * size + c, slice * lines / slices,
                        (slice + 1) * lines / slices, channels);
    const int64_t end = (slice + 1) * in_lines / slices;
    for (int64_t r = slice * in_lines / slices; r < end; ++r) {
      InputGradientRow(g, gradient + c, kernel + c, dx + c, r / g.in_h, r % g.in_h, channels);
    }
  }, Together((lines + in_lines) / slices * g.out_w * g.channels / parts + 1));
  ParallelFor(pool, (size + kSumTogether - 1) / kSumTogether, [&, sums = sums.get()](int64_t t) {
    const int64_t first = t * kSumTogether, count = std::min(size - first, kSumTogether);
    T* const to = dkernel + first;
    std::fill_n(to, count, T(0));
    for (int64_t slice = 0; slice < slices; ++slice) {
      const T* const from = sums + slice * size + first;
      for (int64_t i = 0; i < count; ++i) to[i] += from[i];
    }
  }, Together(slices * kSumTogether));
}

}  // namespace ecanet
