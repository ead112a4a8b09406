#pragma once

// The passes of BatchNorm and of channel attention.

#include <vector>

#include "threads.h"
#include "vectors.h"

namespace ecanet {

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

}  // namespace ecanet
