#pragma once

// RoIAlign, and its gradient with respect to the cells.

#include <algorithm>
#include <cmath>
#include <vector>

#include "threads.h"
#include "vectors.h"

namespace ecanet {

constexpr int64_t kRoiFields = 7;  // first cell, rows, columns, top, left, bin height, bin width

struct RoiGeometry {
  int64_t batch, cells, channels, rois, size, samples;
};

// A cell that a bin reads on one axis, and its weight.
template <typename T>
struct Tap {
  int64_t at;
  T weight;
};

// The taps of all bins on one axis, 2 * samples of each; a cell is `stride` cells from the next.
template <typename T>
std::vector<Tap<T>> TapsOf(const RoiGeometry& g, T start, T each, T length, int64_t stride) {
  std::vector<Tap<T>> taps;
  taps.reserve(g.size * 2 * g.samples);
  for (int64_t bin = 0; bin < g.size; ++bin) {
    for (int64_t sample = 0; sample < g.samples; ++sample) {
      const T at = start + T(bin) * each + (T(sample) + T(0.5)) * each / T(g.samples);
      const bool inside = at >= -1 && at <= length;  // false for NaN
      const T clipped = inside ? std::clamp(at, T(0), length - 1) : T(0);
      const T low = std::floor(clipped), upper = clipped - low;
      const T share = inside ? T(1) / T(g.samples) : T(0);
      taps.push_back({int64_t(low) * stride, (1 - upper) * share});
      taps.push_back({int64_t(std::min(low + 1, length - 1)) * stride, upper * share});
    }
  }
  return taps;
}

// The taps of a RoI on both axes.
template <typename T>
struct RoiTaps {
  std::vector<Tap<T>> rows, columns;
  int64_t first;

  RoiTaps(const RoiGeometry& g, const T* roi)
      : rows(TapsOf<T>(g, roi[3], roi[5], roi[1], int64_t(roi[2]))),
        columns(TapsOf<T>(g, roi[4], roi[6], roi[2], 1)),
        first(int64_t(roi[0])) {}

  // Calls body(cell, weight) for every cell that a bin reads.
  template <typename Body>
  void ForBin(const RoiGeometry& g, int64_t u, int64_t v, Body body) const {
    const int64_t taps = 2 * g.samples;
    for (int64_t a = u * taps; a < (u + 1) * taps; ++a) {
      for (int64_t b = v * taps; b < (v + 1) * taps; ++b) {
        body(first + rows[a].at + columns[b].at, rows[a].weight * columns[b].weight);
      }
    }
  }
};

template <typename T>
void RoiAlign(ffi::ThreadPool& pool, const RoiGeometry& g, const T* cells, const T* rois, T* y) {
  ParallelFor(pool, g.batch * g.rois, [&](int64_t t) {
    const RoiTaps<T> taps(g, rois + t * kRoiFields);
    const T* image = cells + t / g.rois * g.cells * g.channels;
    T* to = y + t * g.size * g.size * g.channels;
    for (int64_t u = 0; u < g.size; ++u) {
      for (int64_t v = 0; v < g.size; ++v, to += g.channels) {
        ForWhole<T>(g.channels, [&](int64_t c, auto load, auto store) {
          Vector<T, 64> sum{};
          taps.ForBin(g, u, v, [&](int64_t cell, T weight) {
            sum += load(image + cell * g.channels + c) * weight;
          });
          store(to + c, sum);
        });
      }
    }
  });
}

// Adds in the order of the RoIs: each task has one image and some channels.
template <typename T>
void RoiAlignGradient(ffi::ThreadPool& pool, const RoiGeometry& g, const T* rois, const T* gradient,
                      T* dcells) {
  const int64_t parts = (g.channels + kLanes<T> - 1) / kLanes<T>;
  ParallelFor(pool, g.batch * parts, [&](int64_t t) {
    const int64_t n = t / parts, begin = t % parts * kLanes<T>;
    T* image = dcells + n * g.cells * g.channels + begin;
    const auto part = [&](auto load, auto store) {
      for (int64_t cell = 0; cell < g.cells; ++cell) {
        store(image + cell * g.channels, Vector<T, 64>{});
      }
      const T* from = gradient + n * g.rois * g.size * g.size * g.channels + begin;
      for (int64_t r = 0; r < g.rois; ++r) {
        const RoiTaps<T> taps(g, rois + (n * g.rois + r) * kRoiFields);
        for (int64_t u = 0; u < g.size; ++u) {
          for (int64_t v = 0; v < g.size; ++v, from += g.channels) {
            const Vector<T, 64> slope = load(from);
            taps.ForBin(g, u, v, [&](int64_t cell, T weight) {
              T* to = image + cell * g.channels;
              store(to, load(to) + slope * weight);
            });
          }
        }
      }
    };
    const int64_t left = std::min(kLanes<T>, g.channels - begin);
    if (left == kLanes<T>) {
      part([](const T* p) { return Load<Vector<T, 64>>(p); },
           [](T* p, Vector<T, 64> v) { Store<Vector<T, 64>>(p, v); });
    } else {
      part([left](const T* p) { return LoadPart(p, left); },
           [left](T* p, Vector<T, 64> v) { StorePart(p, v, left); });
    }
  });
}

}  // namespace ecanet
