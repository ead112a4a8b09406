#pragma once

// BatchNorm, channel attention, and attention behind BatchNorm, pass by pass.
//
// Images are [groups, rows, C], all other arrays [groups, C]. BatchNorm's result is y = act(z) with
// z = x * scale + shift. Attention behind it gives y * gate; a group is then one image.

#include <array>
#include <memory>

#include "threads.h"
#include "vectors.h"

namespace ecanet {

constexpr int64_t kChunks = 32;     // most chunks of a group's rows; a task sums one chunk
constexpr int64_t kChunkRows = 64;  // fewest rows of a chunk, so that adding chunks up is cheap
constexpr int64_t kBlockRows = 8;   // rows read together, with their sums in registers

// Calls f(group, first row, last row, number) for every chunk. Chunks depend on `rows` alone, so an
// image's sums do not depend on the batch.
inline int64_t ChunkOf(int64_t rows) {
  return std::max(kChunkRows, (rows + kChunks - 1) / kChunks);
}

template <typename F>
void ForChunks(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, F f) {
  const int64_t chunk = ChunkOf(rows), chunks = (rows + chunk - 1) / chunk;
  ParallelFor(pool, groups * chunks, [=](int64_t t) {
    const int64_t group = t / chunks, from = t % chunks * chunk;
    f(group, group * rows + from, group * rows + std::min(rows, from + chunk), t);
  }, Together(std::min(rows, chunk) * channels));
}

// Sums per channel over the rows of each group; out[k] is [groups, C]. terms(group, c, load, store)
// returns add(row, sums), which adds one row's terms to kSums vectors.
template <typename T, int kSums, typename F>
void SumRows(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels,
             std::array<T*, kSums> out, F terms) {
  const int64_t chunk = ChunkOf(rows), chunks = (rows + chunk - 1) / chunk;
  const bool whole = chunks == 1;  // a chunk's sums are its group's
  const std::unique_ptr<T[]> partial(whole ? nullptr : new T[groups * chunks * kSums * channels]);
  const auto sums_of = [=, all = partial.get()](int64_t t, int k) {
    return whole ? out[k] + t * channels : all + (t * kSums + k) * channels;
  };
  ForChunks(pool, groups, rows, channels, [=](int64_t group, int64_t from, int64_t to, int64_t t) {
    for (int64_t block = from; block < to; block += kBlockRows) {
      const int64_t end = std::min(to, block + kBlockRows);
      ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
        Vector<T, 64> s[kSums] = {};
        if (block > from) {
          for (int k = 0; k < kSums; ++k) s[k] = load(sums_of(t, k) + c);
        }
        const auto add = terms(group, c, load, store);
        for (int64_t row = block; row < end; ++row) add(row, s);
        for (int k = 0; k < kSums; ++k) store(sums_of(t, k) + c, s[k]);
      });
    }
  });
  for (int64_t group = 0; group < groups && !whole; ++group) {
    for (int k = 0; k < kSums; ++k) {
      T* const to = out[k] + group * channels;
      std::fill_n(to, channels, T(0));
      for (int64_t t = group * chunks; t < (group + 1) * chunks; ++t) {
        const T* const from = sums_of(t, k);
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
      }
    }
  }
}

// Sums of (x - origin) and (x - origin)^2; the origin is [C].
template <typename T>
void Moments(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
             const T* origin, T* first, T* second) {
  SumRows<T, 2>(pool, groups, rows, channels, {first, second},
                [=](int64_t, int64_t c, auto load, auto) {
    const auto zero = load(origin + c);
    return [=](int64_t row, auto* sums) {
      const auto d = load(x + row * channels + c) - zero;
      sums[0] += d;
      sums[1] += d * d;
    };
  });
}

// y and its sums: attention's squeeze.
template <typename T, int kActivation>
void ApplySum(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
              const T* scale, const T* shift, T* y, T* total) {
  SumRows<T, 1>(pool, groups, rows, channels, {total},
                [=](int64_t group, int64_t c, auto load, auto store) {
    const int64_t at = group * channels + c;
    const auto a = load(scale + at), b = load(shift + at);
    return [=](int64_t row, auto* sums) {
      Vector<T, 64> unused;
      const auto value = Activate<kActivation, false>(load(x + row * channels + c) * a + b,
                                                      &unused);
      store(y + row * channels + c, value);
      sums[0] += value;
    };
  });
}

// y * gate.
template <typename T, int kActivation>
void Apply(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
           const T* scale, const T* shift, const T* gate, T* y) {
  ForChunks(pool, groups, rows, channels, [=](int64_t group, int64_t from, int64_t to, int64_t) {
    for (int64_t row = from; row < to; ++row) {
      ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
        const int64_t at = group * channels + c;
        Vector<T, 64> unused;
        const auto z = load(x + row * channels + c) * load(scale + at) + load(shift + at);
        store(y + row * channels + c, Activate<kActivation, false>(z, &unused) * load(gate + at));
      });
    }
  });
}

// Sums of gz and gz * (x - mean), where gz = gradient * act'(z); with kSums = 5 also those that
// attention needs: gradient * y, act'(z) and act'(z) * (x - mean).
template <typename T, int kActivation, size_t kSums>
void GradientSums(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels, const T* x,
                  const T* gradient, const T* scale, const T* shift, const T* mean,
                  std::array<T*, kSums> out) {
  SumRows<T, kSums>(pool, groups, rows, channels, out,
                    [=](int64_t group, int64_t c, auto load, auto) {
    const int64_t at = group * channels + c;
    const auto a = load(scale + at), b = load(shift + at), m = load(mean + at);
    return [=](int64_t row, auto* sums) {
      const auto value = load(x + row * channels + c), g = load(gradient + row * channels + c);
      Vector<T, 64> slope;
      const auto y = Activate<kActivation, true>(value * a + b, &slope);
      const auto gz = g * slope, d = value - m;
      sums[0] += gz;
      sums[1] += gz * d;
      if constexpr (kSums == 5) {
        sums[2] += g * y;
        sums[3] += slope;
        sums[4] += slope * d;
      }
    };
  });
}

// dx = gz * scale + (x - mean) * factor + constant with gz = (gradient * gate + addend) * act'(z).
template <typename T, int kActivation>
void InputGradient(ffi::ThreadPool& pool, int64_t groups, int64_t rows, int64_t channels,
                   const T* x, const T* gradient, const T* scale, const T* shift, const T* mean,
                   const T* factor, const T* constant, const T* gate, const T* addend, T* dx) {
  ForChunks(pool, groups, rows, channels, [=](int64_t group, int64_t from, int64_t to, int64_t) {
    for (int64_t row = from; row < to; ++row) {
      ForWhole<T>(channels, [=](int64_t c, auto load, auto store) {
        const int64_t at = group * channels + c;
        const auto value = load(x + row * channels + c), a = load(scale + at);
        Vector<T, 64> slope;
        Activate<kActivation, true>(value * a + load(shift + at), &slope);
        const auto g = load(gradient + row * channels + c) * load(gate + at) + load(addend + at);
        store(dx + row * channels + c, g * slope * a + (value - load(mean + at)) *
                                           load(factor + at) + load(constant + at));
      });
    }
  });
}

}  // namespace ecanet
