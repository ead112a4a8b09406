#pragma once

// Vectors over channels, and the activations.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace ecanet {

template <typename T, int kBytes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};

// A vector of as many T as fit into kBytes, without alignment.
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

// Calls body(vector type, first channel) to cover all channels: vectors of 64 bytes, then smaller
// ones for the rest.
template <typename T, typename Body>
inline void ForChannels(int64_t channels, Body body) {
  int64_t c = 0;
  constexpr int64_t k64 = 64 / sizeof(T), k32 = 32 / sizeof(T);
  for (; c + k64 <= channels; c += k64) body(Vector<T, 64>{}, c);
  if (c + k32 <= channels) { body(Vector<T, 32>{}, c); c += k32; }
  for (; c < channels; ++c) body(Vector<T, sizeof(T)>{}, c);
}

// Vectors of 64 bytes over C channels. The rest goes through a buffer, so that the same
// instructions compute every channel.
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

// e^r for |r| <= ln(2) / 2: a minimax polynomial with a relative error of 3e-9.
template <typename V>
inline V ExpSmall(V r) {
  V p = V{} + 0.0013814539f;
  p = p * r + 0.008368745f;
  p = p * r + 0.04166839f;
  p = p * r + 0.16666521f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  return p * r + 1.0f;
}

// e^x = 2^n e^r, where n is the integer nearest to x / ln(2).
template <typename V>
inline V ExpFloat(V x) {
#ifdef __AVX512F__
  if constexpr (sizeof(V) == 64) {
    x = (V)_mm512_max_ps(_mm512_set1_ps(-104.0f), (__m512)x);  // keeps NaN; overflow gives infinity
    const V n = (V)_mm512_roundscale_ps((__m512)(x * 1.44269504088896341f), 0);
    const V r = x - n * 0.693359375f + n * 2.12194440e-4f;
    return (V)_mm512_scalef_ps((__m512)ExpSmall(r), (__m512)n);
  }
#endif
  typedef int32_t I __attribute__((vector_size(sizeof(V))));
  const V low = V{} - 87.0f, high = V{} + 88.0f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const V magic = V{} + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the nearest integer
  const V shifted = x * 1.44269504088896341f + magic;
  const V n = shifted - magic;
  const V r = x - n * 0.693359375f + n * 2.12194440e-4f;
  const I exponent = (I)shifted - (I)magic;
  return (V)((I)ExpSmall(r) + (exponent << 23));
}

template <typename V>
inline V Exp(V x) {
  if constexpr (std::is_same_v<std::decay_t<decltype(x[0])>, float>) {
    return ExpFloat(x);
  } else {
    for (int i = 0; i < int(sizeof(V) / sizeof(x[0])); ++i) x[i] = std::exp(x[i]);
    return x;
  }
}

enum Activation : int64_t { kNone = 0, kRelu = 1, kRelu6 = 2, kSwish = 3 };

// y = act(z); if kSlope, also act'(z).
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

}  // namespace ecanet
