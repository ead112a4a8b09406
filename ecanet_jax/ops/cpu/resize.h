#pragma once

// Resizes byte images: separable and antialiased, as TensorFlow's ScaleAndTranslate.

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

// The source pixels of each output pixel, and their weights. The outputs are the pixels
// offset .. offset + to - 1 of an image of `whole` pixels.
struct Spans {
  int64_t most = 0;
  std::vector<int64_t> first, count;
  std::vector<float> weights;  // [output, most], 0 from count on

  Spans(int64_t from, int64_t whole, int64_t offset, int64_t to, int kernel)
      : first(to), count(to) {
    const float step = static_cast<float>(from) / whole, wide = std::max(step, 1.0f);
    const float reach = (kernel == kBicubic ? 2 : 1) * wide;
    most = static_cast<int64_t>(2 * reach) + 1;
    weights.assign(to * most, 0);
    for (int64_t i = 0; i < to; ++i) {
      const float center = (offset + i + 0.5f) * step;
      const int64_t start = std::max<int64_t>(0, std::ceil(center - reach - 0.5f));
      const int64_t last = std::min<int64_t>(from - 1, std::floor(center + reach - 0.5f));
      const int64_t end = std::min(last, start + most - 1);  // guards against rounding
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

// 2^23. Adding it rounds to even and leaves the integer in the low bits of the sum.
constexpr float kRound = 8388608.0f;

// One output row before its columns are resized: the weighted sum of `count` rows of n bytes.
#ifndef __clang__
__attribute__((optimize("O3")))  // -O2 does not vectorise the last loop
#endif
inline void SumRows(const uint8_t* image, int64_t n, const float* w, int64_t count,
                    float* __restrict row) {
  int64_t first = 0;
#ifdef __AVX512F__  // g++ 12 compiles the general form to many more instructions
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

// Output rows whose columns are resized together. A vector holds one pixel of each row: three
// channels and an unused lane.
#if defined(__AVX512F__)
constexpr int64_t kRows = 4;
#elif defined(__AVX__)
constexpr int64_t kRows = 2;
#else
constexpr int64_t kRows = 1;
#endif
using Pixel = Vector<float, 16>;
using Pixels = Vector<float, 16 * kRows>;

// Rounds to even, clips, and stores one pixel to each row; rows lie `stride` bytes apart. The byte
// behind each pixel is overwritten.
inline void StorePixels(uint8_t* to, int64_t stride, Pixels v) {
#ifdef __AVX512F__
  const __m512i whole = _mm512_cvtps_epi32(reinterpret_cast<__m512>(v));
  const __m512i positive = _mm512_max_epi32(whole, _mm512_setzero_si512());
  uint8_t bytes[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm512_cvtusepi32_epi8(positive));
#pragma GCC unroll 4
  for (int64_t r = 0; r < kRows; ++r) std::memcpy(to + r * stride, bytes + 4 * r, 4);
#else
  v = v < 0 ? Pixels{} : v > 255 ? Pixels{} + 255 : v;
  v += kRound;
  uint32_t bits[4 * kRows];
  std::memcpy(bits, &v, sizeof(bits));
#pragma GCC unroll 2
  for (int64_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
    for (int64_t c = 0; c < 3; ++c) to[r * stride + c] = bits[4 * r + c];
  }
#endif
}

// Where the result lies in the resized image: the sides of that image, and the first pixel.
struct Window {
  int32_t height, width, top, left;
};

// Resizes [height, width, 3] and takes a window, [size, size, 3], rounded to even, clipped, and
// mirrored on request. Pixels beside the window count, as if the whole image were resized.
inline void Resize(const uint8_t* image, int64_t height, int64_t width, int64_t size, int kernel,
                   bool mirrored, Window window, uint8_t* out) {
  const Spans rows(height, window.height, window.top, size, kernel);
  const Spans columns(width, window.width, window.left, size, kernel);
  const int64_t n = 3 * width, length = 3 * size;
  std::vector<float> sums(kRows * n + 1);
  std::vector<Pixels> group(width + columns.most);  // padded with zeros for the weights of 0
  std::vector<uint8_t> lines(kRows * (length + 1));
  for (int64_t y = 0; y < size; y += kRows) {
    const int64_t count = std::min(kRows, size - y);
    for (int64_t r = 0; r < count; ++r) {
      const float* w = &rows.weights[(y + r) * rows.most];
      SumRows(image + rows.first[y + r] * n, n, w, rows.count[y + r], &sums[r * n]);
    }
    for (int64_t x = 0; x < width; ++x) {
      float* to = reinterpret_cast<float*>(&group[x]);
#pragma GCC unroll 4
      for (int64_t r = 0; r < kRows; ++r) Store(to + 4 * r, Load<Pixel>(&sums[r * n + 3 * x]));
    }
    for (int64_t x = 0; x < size; ++x) {
      const int64_t column = mirrored ? size - 1 - x : x;
      const Pixels* from = &group[columns.first[column]];
      const float* w = &columns.weights[column * columns.most];
      Pixels sum = {};
      for (int64_t t = 0; t < columns.most; ++t) sum += w[t] * from[t];
      StorePixels(&lines[3 * x], length + 1, sum);
    }
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(out + (y + r) * length, &lines[r * (length + 1)], length);
    }
  }
}

}  // namespace ecanet
