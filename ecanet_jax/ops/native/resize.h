#pragma once

// Images of bytes in another size: separable, antialiased, as TensorFlow's ScaleAndTranslate.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "vectors.h"

namespace ecanet {

constexpr int kBilinear = 0, kBicubic = 1;

inline float Triangle(float x) { return std::max(0.0f, 1 - std::abs(x)); }

// Keys' cubic convolution with a = -1/2.
inline float KeysCubic(float x) {
  x = std::abs(x);
  if (x >= 2) return 0;
  if (x >= 1) return ((-0.5f * x + 2.5f) * x - 4) * x + 2;
  return ((1.5f * x - 2.5f) * x) * x + 1;
}

// Which source pixels an output pixel is made of, and how much of each.
struct Spans {
  int64_t most = 0;
  std::vector<int64_t> first, count;
  std::vector<float> weights;  // [output, most]

  Spans(int64_t from, int64_t to, int kernel) : first(to), count(to) {
    const float step = static_cast<float>(from) / to, wide = std::max(step, 1.0f);
    const float reach = (kernel == kBicubic ? 2 : 1) * wide;
    most = 2 * static_cast<int64_t>(std::ceil(reach)) + 1;
    weights.assign(to * most, 0);
    for (int64_t i = 0; i < to; ++i) {
      const float center = (i + 0.5f) * step;
      const int64_t start = std::max<int64_t>(0, std::ceil(center - reach - 0.5f));
      const int64_t end = std::min<int64_t>(from - 1, std::floor(center + reach - 0.5f));
      first[i] = start;
      count[i] = end - start + 1;
      float sum = 0;
      float* w = &weights[i * most];
      for (int64_t s = start; s <= end; ++s) {
        const float x = (s + 0.5f - center) / wide;
        sum += w[s - start] = kernel == kBicubic ? KeysCubic(x) : Triangle(x);
      }
      for (int64_t t = 0; t < count[i]; ++t) w[t] /= sum;
    }
  }
};

// 2^23: what is added to it is rounded to even, and lies in the low bits of the sum.
constexpr float kRound = 8388608.0f;

// One row of the output before its columns are resized: `count` rows of n bytes, weighted.
#ifndef __clang__
__attribute__((optimize("O3")))  // -O2 would leave the last loop as it is
#endif
inline void SumRows(const uint8_t* image, int64_t n, const float* w, int64_t count,
                    float* __restrict row) {
  int64_t first = 0;
#ifdef __AVX512F__  // of the general form of this g++ 12 makes many more instructions
  for (; first + 32 <= n; first += 32) {
    __m512 low = _mm512_setzero_ps(), high = low;
    for (int64_t t = 0; t < count; ++t) {
      const auto* from = reinterpret_cast<const __m128i*>(image + first + t * n);
      const __m512 weight = _mm512_set1_ps(w[t]);
      const auto widened = [](__m128i bytes) {
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
      };
      low = _mm512_fmadd_ps(weight, widened(_mm_loadu_si128(from)), low);
      high = _mm512_fmadd_ps(weight, widened(_mm_loadu_si128(from + 1)), high);
    }
    _mm512_storeu_ps(row + first, low);
    _mm512_storeu_ps(row + first + 16, high);
  }
#endif
  for (int64_t x = first; x < n; ++x) row[x] = 0;
  for (int64_t t = 0; t < count; ++t) {
    const uint8_t* __restrict from = image + t * n;
    for (int64_t x = first; x < n; ++x) row[x] += w[t] * from[x];
  }
}

// From [height, width, 3] to [size, size, 3], rounded to even and clipped.
inline void Resize(const uint8_t* image, int64_t height, int64_t width, int64_t size, int kernel,
                   uint8_t* out) {
  using V = Vector<float, 16>;  // one pixel, and a lane that is not used
  const Spans rows(height, size, kernel), columns(width, size, kernel);
  const int64_t n = 3 * width;
  std::vector<float> buffer(n + 1);
  float* const row = buffer.data();
  for (int64_t y = 0; y < size; ++y) {
    SumRows(image + rows.first[y] * n, n, &rows.weights[y * rows.most], rows.count[y], row);
    uint8_t* to = out + y * size * 3;
    for (int64_t x = 0; x < size; ++x) {
      const float* from = row + 3 * columns.first[x];
      const float* w = &columns.weights[x * columns.most];
      V sum = {};
      for (int64_t t = 0; t < columns.count[x]; ++t) sum += w[t] * Load<V>(from + 3 * t);
      sum = sum < 0 ? V{} : sum > 255 ? V{} + 255 : sum;
      sum += kRound;
      uint32_t bits[4];
      std::memcpy(bits, &sum, sizeof(bits));
      for (int c = 0; c < 3; ++c) *to++ = bits[c];
    }
  }
}

}  // namespace ecanet
