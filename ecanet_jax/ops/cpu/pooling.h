#pragma once

// Max pooling, and its gradient, which goes to the first pixel that has the maximum.

#include <limits>

#include "depthwise.h"
#include "threads.h"
#include "vectors.h"

namespace ecanet {

// Calls body(load, store, first channel) for every image and vector of channels, in parallel.
template <typename T, typename Body>
void ForImages(ffi::ThreadPool& pool, const Geometry& g, Body body) {
  const int64_t vectors = (g.channels + kLanes<T> - 1) / kLanes<T>;
  ParallelFor(pool, g.batch * vectors, [&](int64_t t) {
    const int64_t n = t / vectors, c = t % vectors * kLanes<T>;
    const int64_t part = std::min(kLanes<T>, g.channels - c);
    if (part == kLanes<T>) {
      body(n, c, [](const T* p) { return Load<Vector<T, 64>>(p); },
           [](T* p, Vector<T, 64> v) { Store<Vector<T, 64>>(p, v); });
    } else {
      body(n, c, [part](const T* p) { return LoadPart(p, part); },
           [part](T* p, Vector<T, 64> v) { StorePart(p, v, part); });
    }
  });
}

// Calls body(y, x) for the input pixels in the window of output pixel (h, w), row by row.
template <typename Body>
inline void ForWindow(const Geometry& g, int64_t h, int64_t w, Body body) {
  int64_t top, bottom, left, right;
  const int64_t y = h * g.stride - g.top, x = w * g.stride - g.left;
  Taps(y, g.kernel_h, g.in_h, &top, &bottom);
  Taps(x, g.kernel_w, g.in_w, &left, &right);
  for (int64_t i = top; i < bottom; ++i) {
    for (int64_t j = left; j < right; ++j) body(y + i, x + j);
  }
}

template <typename T>
void MaxPool(ffi::ThreadPool& pool, const Geometry& g, const T* x, T* y) {
  ForImages<T>(pool, g, [&](int64_t n, int64_t c, auto load, auto store) {
    const T* in = x + n * g.in_h * g.in_w * g.channels + c;
    T* out = y + n * g.out_h * g.out_w * g.channels + c;
    for (int64_t h = 0; h < g.out_h; ++h) {
      for (int64_t w = 0; w < g.out_w; ++w, out += g.channels) {
        auto most = Vector<T, 64>{} - std::numeric_limits<T>::infinity();
        ForWindow(g, h, w, [&](int64_t r, int64_t q) {
          const auto value = load(in + (r * g.in_w + q) * g.channels);
          most = (most >= value) | (most != most) ? most : value;  // NaN propagates
        });
        store(out, most);
      }
    }
  });
}

template <typename T>
void MaxPoolGradient(ffi::ThreadPool& pool, const Geometry& g, const T* x, const T* y,
                     const T* gradient, T* dx) {
  ForImages<T>(pool, g, [&](int64_t n, int64_t c, auto load, auto store) {
    using V = Vector<T, 64>;
    const int64_t image = n * g.in_h * g.in_w * g.channels + c;
    const T* in = x + image;
    T* to = dx + image;
    for (int64_t p = 0; p < g.in_h * g.in_w; ++p) store(to + p * g.channels, V{});
    int64_t at = n * g.out_h * g.out_w * g.channels + c;
    for (int64_t h = 0; h < g.out_h; ++h) {
      for (int64_t w = 0; w < g.out_w; ++w, at += g.channels) {
        const V most = load(y + at), zero{};
        V left = load(gradient + at);  // zero once a pixel has received it
        ForWindow(g, h, w, [&](int64_t r, int64_t q) {
          const int64_t pixel = (r * g.in_w + q) * g.channels;
          const auto has = load(in + pixel) == most;
          store(to + pixel, load(to + pixel) + (has ? left : zero));
          left = has ? zero : left;
        });
      }
    }
  });
}

}  // namespace ecanet
