// Kernels for CPUs, called from XLA through its FFI: depthwise convolution and BatchNorm with an
// activation, forward and backward, in float and double.
//
// Images are [N, H, W, C] and dense. Vectors run over channels, so no sum is reordered by the
// vector width; every sum over pixels is made of partial sums over fixed chunks that are added in
// order, so results do not depend on which thread did what. Plain references of all of it are in
// ../depthwise.py and ../batch_norm.py.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

// ------------------------------------------------------------------------------- threads

// Calls f(0), ..., f(tasks - 1) on the pool and on this thread. It waits only for tasks that have
// begun, so a pool that is busy with callers of this function cannot lock up.
template <typename F>
void ParallelFor(ffi::ThreadPool& pool, int64_t tasks, F f) {
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), tasks) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < tasks; ++i) f(i);
    return;
  }
  auto shared = std::make_shared<Shared>();
  // A helper that starts late finds no task left and touches nothing but `shared`.
  auto work = [shared, tasks](F* f) {
    for (int64_t i; (i = shared->next.fetch_add(1)) < tasks;) {
      (*f)(i);
      if (shared->done.fetch_add(1) + 1 == tasks) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([work, f = &f] { work(f); });
  work(&f);
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == tasks; });
}

// ------------------------------------------------------------------------------- vectors

template <typename T, int kBytes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};

// A vector of as many T as fit into kBytes, at any address.
template <typename T, int kBytes>
using Vector = typename VectorOf<T, kBytes>::Type;

template <typename V, typename T>
inline V Load(const T* p) {
  return *reinterpret_cast<const V*>(p);
}

template <typename V, typename T>
inline void Store(T* p, V v) {
  *reinterpret_cast<V*>(p) = v;
}

// Calls body(vector type, first channel) so that all channels are covered: 64 bytes at a time, and
// what is left in smaller vectors.
template <typename T, typename Body>
inline void ForChannels(int64_t channels, Body body) {
  int64_t c = 0;
  constexpr int64_t k64 = 64 / sizeof(T), k32 = 32 / sizeof(T);
  for (; c + k64 <= channels; c += k64) body(Vector<T, 64>{}, c);
  if (c + k32 <= channels) { body(Vector<T, 32>{}, c); c += k32; }
  for (; c < channels; ++c) body(Vector<T, sizeof(T)>{}, c);
}

// ------------------------------------------------------------------------------- depthwise

struct Geometry {
  int64_t batch, in_h, in_w, channels, out_h, out_w, kernel_h, kernel_w, stride, top, left;
};

// The range of taps t in [0, kernel) with 0 <= at + t < size.
inline void Taps(int64_t at, int64_t kernel, int64_t size, int64_t* begin, int64_t* end) {
  *begin = std::max<int64_t>(0, -at);
  *end = std::min<int64_t>(kernel, size - at);
}

constexpr int kTile = 8;  // output pixels of a row that are summed at the same time

// out[x] = sum over i, j of in[i][x * stride + j - left] * kernel[i][j] for x in [first, last), all
// of whose taps are inside. `in` is at column 0 of the first row, rows are `row` apart.
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

// One row of a correlation along both axes: out[x] for x in [0, width), where pixel x sees the
// columns x * stride + offset + j of `in_w`, and `rows` rows beginning at `in`.
template <typename V, int kStride, typename T>
inline void Correlate(const T* in, const T* kernel, T* out, int64_t width, int64_t offset,
                      int64_t in_w, int64_t rows, int64_t taps, int64_t row, int64_t pixel,
                      int64_t out_pixel, int64_t kernel_row, int64_t kernel_tap) {
  // The pixels whose taps are all inside are [first, last).
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

template <typename T>
void ForwardRow(const Geometry& g, const T* x, const T* kernel, T* y, int64_t n, int64_t h) {
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
  });
}

// Row r of the input's gradient. Of the taps only those i reach it for which r + top - i is a
// multiple of the stride; likewise for columns. Each phase of columns is a correlation of the
// gradient with every stride-th tap, backwards.
template <typename T>
void InputGradientRow(const Geometry& g, const T* gradient, const T* kernel, T* dx, int64_t n,
                      int64_t r) {
  const int64_t s = g.stride, row = g.out_w * g.channels, krow = g.kernel_w * g.channels;
  T* out = dx + (n * g.in_h + r) * g.in_w * g.channels;
  // Rows of the gradient from `low` to `high`, with tap r + top - s * low falling by s.
  const int64_t high = std::min(g.out_h - 1, (r + g.top) / s);
  int64_t low = r + g.top - g.kernel_h + 1;
  low = low <= 0 ? 0 : (low + s - 1) / s;
  const int64_t rows = high - low + 1, tap = r + g.top - s * low;
  const T* in = gradient + (n * g.out_h + low) * row;
  for (int64_t phase = 0; phase < s; ++phase) {  // columns w of the input, (w + left) % s == phase
    int64_t w = ((phase - g.left) % s + s) % s;
    if (w >= g.in_w || phase >= g.kernel_w) {
      for (; w < g.in_w; w += s) std::fill_n(out + w * g.channels, g.channels, T(0));
      continue;
    }
    const int64_t taps = (g.kernel_w - phase + s - 1) / s, width = (g.in_w - w + s - 1) / s;
    // Column w sees the gradient's columns q, ..., q - taps + 1 through taps phase, phase + s, ...
    const int64_t q = (w + g.left - phase) / s;
    const int64_t last = phase + (taps - 1) * s;
    ForChannels<T>(g.channels, [&](auto v, int64_t c) {
      using V = decltype(v);
      Correlate<V, 1, T>(in + c, kernel + tap * krow + last * g.channels + c,
                         out + w * g.channels + c, width, q - taps + 1, g.out_w, rows, taps, row,
                         g.channels, s * g.channels, -s * krow, -s * g.channels);
    });
  }
}

// Adds the kernel gradient of rows [from, to) of image n to sum [kernel_h, kernel_w, C].
template <typename V, int kTaps, int kStride, typename T>
inline void KernelGradientTaps(const Geometry& g, const T* x, const T* gradient, T* sum, int64_t n,
                               int64_t from, int64_t to, int64_t i, int64_t j0) {
  const int64_t row = g.in_w * g.channels, pixel = g.channels;
  V total[kTaps];
  for (int j = 0; j < kTaps; ++j) total[j] = Load<V>(sum + (i * g.kernel_w + j0 + j) * pixel);
  const int64_t offset = j0 - g.left;
  int64_t first = offset < 0 ? (-offset + kStride - 1) / kStride : 0;
  int64_t last = g.in_w - kTaps - offset < 0 ? 0 : (g.in_w - kTaps - offset) / kStride + 1;
  first = std::min(first, g.out_w);
  last = std::min(std::max(last, first), g.out_w);
  for (int64_t h = from; h < to; ++h) {
    const int64_t r = h * kStride + i - g.top;
    if (r < 0 || r >= g.in_h) continue;
    const T* in = x + (n * g.in_h + r) * row;
    const T* out = gradient + (n * g.out_h + h) * g.out_w * pixel;
    auto edge = [&](int64_t w) {
      const V value = Load<V>(out + w * pixel);
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

template <typename T>
void KernelGradientRows(const Geometry& g, const T* x, const T* gradient, T* sum, int64_t n,
                        int64_t from, int64_t to) {
  ForChannels<T>(g.channels, [&](auto v, int64_t c) {
    using V = decltype(v);
    for (int64_t i = 0; i < g.kernel_h; ++i) {
      for (int64_t j = 0; j < g.kernel_w;) {
        const int64_t left = g.kernel_w - j;
#define TAPS(n_)                                                                               \
  if (left >= n_) {                                                                            \
    (g.stride == 1 ? KernelGradientTaps<V, n_, 1, T> : KernelGradientTaps<V, n_, 2, T>)(       \
        g, x + c, gradient + c, sum + c, n, from, to, i, j);                                   \
    j += n_;                                                                                   \
    continue;                                                                                  \
  }
        TAPS(5) TAPS(3) TAPS(1)
#undef TAPS
      }
    }
  });
}

// Rows of an image that make one task: few enough that the tasks can be shared out evenly, as many
// as keep what they read in the cache. Depends on shapes alone.
int64_t RowsOfTask(int64_t batch, int64_t rows) {
  const int64_t tasks = std::max<int64_t>(1, 32 / std::max<int64_t>(batch, 1));
  return std::max<int64_t>(1, (rows + tasks - 1) / tasks);
}

template <typename T>
void Forward(ffi::ThreadPool& pool, const Geometry& g, const T* x, const T* kernel, T* y) {
  const int64_t rows = RowsOfTask(g.batch, g.out_h), tasks = (g.out_h + rows - 1) / rows;
  ParallelFor(pool, g.batch * tasks, [&](int64_t t) {
    const int64_t n = t / tasks, from = t % tasks * rows, to = std::min(g.out_h, from + rows);
    for (int64_t h = from; h < to; ++h) ForwardRow(g, x, kernel, y, n, h);
  });
}

template <typename T>
void Backward(ffi::ThreadPool& pool, const Geometry& g, const T* x, const T* kernel,
              const T* gradient, T* dx, T* dkernel) {
  const int64_t size = g.kernel_h * g.kernel_w * g.channels;
  const int64_t rows = RowsOfTask(g.batch, g.out_h), tasks = (g.out_h + rows - 1) / rows;
  std::vector<T> sums(g.batch * tasks * size);
  ParallelFor(pool, g.batch * tasks, [&](int64_t t) {
    const int64_t n = t / tasks, part = t % tasks;
    const int64_t from = part * rows, to = std::min(g.out_h, from + rows);
    KernelGradientRows(g, x, gradient, sums.data() + t * size, n, from, to);
    const int64_t in_from = part * g.in_h / tasks, in_to = (part + 1) * g.in_h / tasks;
    for (int64_t r = in_from; r < in_to; ++r) InputGradientRow(g, gradient, kernel, dx, n, r);
  });
  std::fill_n(dkernel, size, T(0));
  for (int64_t t = 0; t < g.batch * tasks; ++t) {
    for (int64_t i = 0; i < size; ++i) dkernel[i] += sums[t * size + i];
  }
}

// ------------------------------------------------------------------------------- BatchNorm

// e^x of a vector: 2^n times a Taylor polynomial on |r| <= ln(2) / 2, whose error is below that of
// the type's rounding.
inline Vector<float, 64> Exp(Vector<float, 64> x) {
  using V = Vector<float, 64>;
  typedef int32_t I __attribute__((vector_size(64)));
  const V low = V{} - 87.0f, high = V{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const V magic = V{} + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the nearest integer
  const V shifted = x * 1.44269504088896341f + magic;
  const V n = shifted - magic;
  V r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  V p = V{} + 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const I exponent = (I)shifted - (I)magic;
  return (V)((I)p + (exponent << 23));
}

inline Vector<double, 64> Exp(Vector<double, 64> x) {
  for (int i = 0; i < 8; ++i) x[i] = std::exp(x[i]);
  return x;
}

enum Activation : int64_t { kNone = 0, kRelu = 1, kRelu6 = 2, kSwish = 3 };

// y = act(z), and with `slope` act'(z).
template <int kActivation, bool kSlope, typename V>
inline V Activate(V z, V* slope) {
  const V zero{}, one = V{} + 1;
  if constexpr (kActivation == kNone) {
    if (kSlope) *slope = one;
    return z;
  } else if constexpr (kActivation == kRelu) {
    if (kSlope) *slope = z > zero ? one : zero;
    return z > zero ? z : zero;
  } else if constexpr (kActivation == kRelu6) {
    const V six = V{} + 6;
    if (kSlope) *slope = (z > zero) & (z < six) ? one : zero;
    const V y = z > zero ? z : zero;
    return y < six ? y : six;
  } else {
    const V sigmoid = one / (one + Exp(-z));
    const V y = z * sigmoid;
    if (kSlope) *slope = sigmoid + y * (one - sigmoid);
    return y;
  }
}

// Whole vectors of 64 bytes over C channels; what is left goes through a buffer, so that every
// channel is computed by the same instructions.
template <typename T>
constexpr int64_t kLanes = 64 / sizeof(T);

template <typename T>
inline Vector<T, 64> LoadPart(const T* p, int64_t n) {
  T buffer[kLanes<T>] = {};
  std::memcpy(buffer, p, n * sizeof(T));
  return Load<Vector<T, 64>>(buffer);
}

template <typename T>
inline void StorePart(T* p, Vector<T, 64> v, int64_t n) {
  std::memcpy(p, &v, n * sizeof(T));
}

template <typename T, typename Body>
inline void ForWhole(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + kLanes<T> <= channels; c += kLanes<T>) {
    body(c, [](const T* p) { return Load<Vector<T, 64>>(p); },
         [](T* p, Vector<T, 64> v) { Store<Vector<T, 64>>(p, v); });
  }
  if (const int64_t n = channels - c) {
    body(c, [n](const T* p) { return LoadPart(p, n); },
         [n](T* p, Vector<T, 64> v) { StorePart(p, v, n); });
  }
}

constexpr int64_t kChunks = 32;  // of the pixels of a group, each summed by one task

// Two sums per channel over the rows of a [groups * rows, C] matrix: out is [2, groups, C].
// accumulate(group, first row, last row, [2, C] sums).
template <typename T, typename F>
void SumRows(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, T* first,
             T* second, F accumulate) {
  const int64_t chunk = (rows + kChunks - 1) / kChunks, size = 2 * channels;
  const int64_t chunks = (rows + chunk - 1) / chunk;
  std::vector<T> sums(groups * chunks * size);
  ParallelFor(pool, groups * chunks, [&](int64_t t) {
    const int64_t group = t / chunks, from = t % chunks * chunk;
    accumulate(group, group * rows + from, group * rows + std::min(rows, from + chunk),
               sums.data() + t * size);
  });
  for (int64_t group = 0; group < groups; ++group) {
    T* a = first + group * channels;
    T* b = second + group * channels;
    std::fill_n(a, channels, T(0));
    std::fill_n(b, channels, T(0));
    for (int64_t t = group * chunks; t < (group + 1) * chunks; ++t) {
      for (int64_t c = 0; c < channels; ++c) {
        a[c] += sums[t * size + c];
        b[c] += sums[t * size + channels + c];
      }
    }
  }
}

// Sums of (x - origin) and (x - origin)^2.
template <typename T>
void Moments(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
             const T* origin, T* first, T* second) {
  SumRows<T>(pool, groups, rows, channels, first, second,
             [=](int64_t, int64_t from, int64_t to, T* sums) {
    ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
      const auto zero = load(origin + c);
      auto a = load(sums + c), b = load(sums + channels + c);
      for (int64_t r = from; r < to; ++r) {
        const auto d = load(x + r * channels + c) - zero;
        a += d;
        b += d * d;
      }
      store(sums + c, a);
      store(sums + channels + c, b);
    });
  });
}

// y = act(x * scale + shift), with scale and shift [groups, C].
template <typename T, int kActivation>
void Apply(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
           const T* scale, const T* shift, T* y) {
  const int64_t chunk = (rows + kChunks - 1) / kChunks, chunks = (rows + chunk - 1) / chunk;
  ParallelFor(pool, groups * chunks, [=](int64_t t) {
    const int64_t group = t / chunks, from = t % chunks * chunk;
    const T* a = scale + group * channels;
    const T* b = shift + group * channels;
    for (int64_t r = group * rows + from, to = group * rows + std::min(rows, from + chunk); r < to;
         ++r) {
      ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
        Vector<T, 64> unused;
        const auto z = load(x + r * channels + c) * load(a + c) + load(b + c);
        store(y + r * channels + c, Activate<kActivation, false>(z, &unused));
      });
    }
  });
}

// Sums of gz and gz * (x - mean), where gz = gradient * act'(x * scale + shift).
template <typename T, int kActivation>
void GradientSums(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
                  const T* gradient, const T* scale, const T* shift, const T* mean, T* first,
                  T* second) {
  SumRows<T>(pool, groups, rows, channels, first, second,
             [=](int64_t group, int64_t from, int64_t to, T* sums) {
    ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
      const int64_t at = group * channels + c;
      const auto a = load(scale + at), b = load(shift + at), m = load(mean + at);
      auto s = load(sums + c), t = load(sums + channels + c);
      for (int64_t r = from; r < to; ++r) {
        const auto value = load(x + r * channels + c);
        Vector<T, 64> slope;
        Activate<kActivation, true>(value * a + b, &slope);
        const auto gz = load(gradient + r * channels + c) * slope;
        s += gz;
        t += gz * (value - m);
      }
      store(sums + c, s);
      store(sums + channels + c, t);
    });
  });
}

// dx = gz * scale + (x - mean) * factor + constant, with gz as above and the others [groups, C].
template <typename T, int kActivation>
void InputGradient(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels,
                   const T* x, const T* gradient, const T* scale, const T* shift, const T* mean,
                   const T* factor, const T* constant, T* dx) {
  const int64_t chunk = (rows + kChunks - 1) / kChunks, chunks = (rows + chunk - 1) / chunk;
  ParallelFor(pool, groups * chunks, [=](int64_t t) {
    const int64_t group = t / chunks, from = t % chunks * chunk, at = group * channels;
    for (int64_t r = group * rows + from, to = group * rows + std::min(rows, from + chunk); r < to;
         ++r) {
      ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
        const auto value = load(x + r * channels + c), a = load(scale + at + c);
        Vector<T, 64> slope;
        Activate<kActivation, true>(value * a + load(shift + at + c), &slope);
        const auto gz = load(gradient + r * channels + c) * slope;
        store(dx + r * channels + c, gz * a + (value - load(mean + at + c)) *
                                         load(factor + at + c) + load(constant + at + c));
      });
    }
  });
}

// ------------------------------------------------------------------------------- FFI

template <ffi::DataType kType>
using Buffer = ffi::Buffer<kType>;
template <ffi::DataType kType>
using Result = ffi::Result<ffi::Buffer<kType>>;

template <ffi::DataType kType>
Geometry GeometryOf(const Buffer<kType>& x, const Buffer<kType>& kernel, const Buffer<kType>& y,
                    int64_t stride, int64_t top, int64_t left) {
  const auto a = x.dimensions(), k = kernel.dimensions(), b = y.dimensions();
  return {a[0], a[1], a[2], a[3], b[1], b[2], k[0], k[1], stride, top, left};
}

ffi::Error CheckStride(int64_t stride) {
  if (stride == 1 || stride == 2) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("the stride must be 1 or 2");
}

template <ffi::DataType kType>
ffi::Error DepthwiseForward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                            Result<kType> y, int64_t stride, int64_t top, int64_t left) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf<kType>(x, kernel, *y, stride, top, left);
  Forward(pool, g, x.typed_data(), kernel.typed_data(), y->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error DepthwiseBackward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                             Buffer<kType> gradient, Result<kType> dx, Result<kType> dkernel,
                             int64_t stride, int64_t top, int64_t left) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf<kType>(x, kernel, gradient, stride, top, left);
  Backward(pool, g, x.typed_data(), kernel.typed_data(), gradient.typed_data(), dx->typed_data(),
           dkernel->typed_data());
  return ffi::Error::Success();
}

// x is [groups, rows, C]; per-channel arrays are [groups, C], the origin [C].
template <ffi::DataType kType>
ffi::Error NormMoments(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> origin,
                       Result<kType> first, Result<kType> second) {
  const auto d = x.dimensions();
  Moments(pool, d[0], d[1], d[2], x.typed_data(), origin.typed_data(), first->typed_data(),
          second->typed_data());
  return ffi::Error::Success();
}

#define BY_ACTIVATION(function, ...)                                                          \
  switch (activation) {                                                                       \
    case kNone: function<T, kNone>(__VA_ARGS__); break;                                       \
    case kRelu: function<T, kRelu>(__VA_ARGS__); break;                                       \
    case kRelu6: function<T, kRelu6>(__VA_ARGS__); break;                                     \
    case kSwish: function<T, kSwish>(__VA_ARGS__); break;                                     \
    default: return ffi::Error::InvalidArgument("unknown activation");                        \
  }                                                                                           \
  return ffi::Error::Success();

template <ffi::DataType kType>
ffi::Error NormApply(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> scale,
                     Buffer<kType> shift, Result<kType> y, int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(Apply, pool, d[0], d[1], d[2], x.typed_data(), scale.typed_data(),
                shift.typed_data(), y->typed_data())
}

template <ffi::DataType kType>
ffi::Error NormGradientSums(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                            Buffer<kType> scale, Buffer<kType> shift, Buffer<kType> mean,
                            Result<kType> first, Result<kType> second, int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(GradientSums, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), first->typed_data(),
                second->typed_data())
}

template <ffi::DataType kType>
ffi::Error NormInputGradient(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                             Buffer<kType> scale, Buffer<kType> shift, Buffer<kType> mean,
                             Buffer<kType> factor, Buffer<kType> constant, Result<kType> dx,
                             int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(InputGradient, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), factor.typed_data(),
                constant.typed_data(), dx->typed_data())
}

}  // namespace

#define GEOMETRY .Attr<int64_t>("stride").Attr<int64_t>("top").Attr<int64_t>("left")
#define DEFINE(suffix, type)                                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      depthwise_forward_##suffix, DepthwiseForward<type>,                                     \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Ret<Buffer<type>>() GEOMETRY);                                                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      depthwise_backward_##suffix, DepthwiseBackward<type>,                                   \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>().Ret<Buffer<type>>() GEOMETRY);             \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_moments_##suffix, NormMoments<type>,                                               \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Ret<Buffer<type>>().Ret<Buffer<type>>());                                          \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_apply_##suffix, NormApply<type>,                                                   \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>().Attr<int64_t>("activation"));              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_gradient_sums_##suffix, NormGradientSums<type>,                                    \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Ret<Buffer<type>>()    \
          .Ret<Buffer<type>>().Attr<int64_t>("activation"));                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_input_gradient_##suffix, NormInputGradient<type>,                                  \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>()    \
          .Arg<Buffer<type>>()                                                                \
          .Ret<Buffer<type>>().Attr<int64_t>("activation"));

#ifdef ECANET_DOUBLE
DEFINE(f64, ffi::F64)
#else
DEFINE(f32, ffi::F32)
#endif
