#pragma once

// 3x3 convolutions with stride 1 by Winograd's F(2x2, 3x3), which takes 4/9 of the multiplications
// (Lavin and Gray 2016, section 4.1): forward, and the kernel's gradient.
//
// Each tile of 2x2 outputs y has 4x4 inputs d: y = A^T [(G k G^T) * (B^T d B)] A. Summed over input
// channels, the 16 products * are 16 matrix products. The kernel's gradient is the transpose,
// G^T [sum over tiles of (A dy A^T) * (B^T d B)] G. The order of every sum is fixed, whichever
// thread computes it.

#include "convolution.h"

namespace ecanet {

constexpr int kPoints = 16;                         // values of a transformed tile
constexpr int64_t kBlockBytes = 1024 * 1024;        // transformed inputs of a task
constexpr int64_t kLeastTiles = 8 * kTileRows;      // fewest tiles of a task, if there are so many
constexpr int64_t kRowBytes = 1024 * 1024;          // one row of transformed tiles
constexpr int64_t kSliceValues = 128 * 1024;        // kernel values, summed slice by slice
// Input channels of a tile of the kernel's gradient: one vector.
template <typename T>
constexpr int64_t kChannels = kTileRows < kWidth<T> ? kTileRows : kWidth<T>;


// The tiles of all outputs, image by image, line by line. Odd sizes end in half tiles.
struct Tiles {
  explicit Tiles(const ConvGeometry& g)
      : high(CeilDiv(g.out_h, 2)), wide(CeilDiv(g.out_w, 2)), count(g.batch * high * wide) {}
  int64_t high, wide, count;
};

struct Tile {
  int64_t image, h, w;  // of its first output
};

inline Tile TileAt(const Tiles& tiles, int64_t t) {
  return {t / (tiles.high * tiles.wide), t / tiles.wide % tiles.high * 2, t % tiles.wide * 2};
}

// Applies B^T to the four values d[0], d[step], ...; also in place.
template <typename V>
inline void TransformInput(V* d, int step) {
  const V a = d[0], b = d[step], c = d[2 * step], e = d[3 * step];
  d[0] = a - c;
  d[step] = b + c;
  d[2 * step] = c - b;
  d[3 * step] = b - e;
}

// The channels of a tile's input (i, j); `zeros` outside the image.
template <typename T>
inline const T* InputAt(const ConvGeometry& g, const Tile& tile, int64_t i, int64_t j, const T* x,
                        const T* zeros) {
  const int64_t h = tile.h - g.top + i, w = tile.w - g.left + j;
  const bool inside = h >= 0 && h < g.in_h && w >= 0 && w < g.in_w;
  return inside ? x + ((tile.image * g.in_h + h) * g.in_w + w) * g.in_c : zeros;
}

// G k G^T of every input and output channel, [panel][point][in_c][panel's width].
template <typename T>
void TransformKernel(ffi::ThreadPool& pool, const ConvGeometry& g, const std::vector<Panel>& panels,
                     const T* kernel, T* out) {
  using V = Register<T>;
  const int64_t chunk = 32, chunks = CeilDiv(g.in_c, chunk);
  ParallelFor(pool, int64_t(panels.size()) * chunks, [&](int64_t t) {
    const Panel& panel = panels[t / chunks];
    const int64_t width = panel.vectors * kWidth<T>, from = t % chunks * chunk;
    for (int64_t c = from; c < std::min(g.in_c, from + chunk); ++c) {
      for (int64_t v = 0; v < width; v += kWidth<T>) {
        const T* k = kernel + c * g.out_c + panel.first + v;
        T* to = out + panel.first * g.in_c * kPoints + c * width + v;
        auto rows = [](V a, V b, V c, V (&row)[4]) {
          const V outer = (a + c) * T(0.5), inner = b * T(0.5);
          row[0] = a, row[1] = outer + inner, row[2] = outer - inner, row[3] = c;
        };
        V half[3][4], full[4];  // k G^T, from tap column to point
        for (int i = 0; i < 3; ++i) {
          const T* row = k + i * 3 * g.in_c * g.out_c;
          rows(Load<V>(row), Load<V>(row + g.in_c * g.out_c), Load<V>(row + 2 * g.in_c * g.out_c),
               half[i]);
        }
        for (int j = 0; j < 4; ++j) {
          rows(half[0][j], half[1][j], half[2][j], full);
          for (int i = 0; i < 4; ++i) Store(to + (4 * i + j) * g.in_c * width, full[i]);
        }
      }
    }
  });
}

// y = act(conv(x, kernel) + bias), 3x3, stride 1; both numbers of channels fill whole vectors.
template <typename T>
void WinogradForward(ffi::ThreadPool& pool, const ConvGeometry& g, const T* x, const T* kernel,
                     const T* bias, T* y, int64_t activation) {
  using V = Register<T>;
  const Tiles tiles(g);
  const std::vector<Panel> panels = PanelsOf(g.out_c, kWidth<T>);
  Scratch<T> kernels(kPoints * g.in_c * g.out_c), zeros(g.in_c);
  std::fill_n(zeros.data(), g.in_c, T(0));
  TransformKernel(pool, g, panels, kernel, kernels.data());

  int64_t block = std::max<int64_t>(kLeastTiles, kBlockBytes / (kPoints * g.in_c * sizeof(T)));
  block = RoundUp(std::min(block, CeilDiv(tiles.count, kTasks)), kTileRows);
  // One vector of padding keeps a tile's points out of the same cache set.
  const int64_t plane = block * g.in_c + kWidth<T>;
  const int64_t sums_plane = block * kTileVectors * kWidth<T> + kWidth<T>;
  ParallelFor(pool, CeilDiv(tiles.count, block), [&](int64_t task) {
    const int64_t first = task * block, count = std::min(block, tiles.count - first);
    const int64_t rows = RoundUp(count, kTileRows);
    Scratch<T> inputs(kPoints * plane), sums(kPoints * sums_plane);
    for (int64_t t = 0; t < rows; ++t) {
      const Tile tile = TileAt(tiles, first + t);
      const T* at[kPoints];
      for (int p = 0; p < kPoints; ++p) {
        at[p] = t < count ? InputAt(g, tile, p / 4, p % 4, x, zeros.data()) : zeros.data();
      }
      for (int64_t c = 0; c < g.in_c; c += kWidth<T>) {
        V d[kPoints];  // B^T d B
#pragma GCC unroll 16
        for (int p = 0; p < kPoints; ++p) d[p] = Load<V>(at[p] + c);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) TransformInput(d + j, 4);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) TransformInput(d + 4 * i, 1);
        T* to = inputs.data() + t * g.in_c + c;
#pragma GCC unroll 16
        for (int p = 0; p < kPoints; ++p) Store(to + p * plane, d[p]);
      }
    }
    for (const Panel& panel : panels) {
      const int64_t width = panel.vectors * kWidth<T>;
      for (int64_t p = 0; p < kPoints; ++p) {
        const T* b = kernels.data() + (panel.first * kPoints + p * width) * g.in_c;
        for (int64_t t = 0; t < rows; t += kTileRows) {
          WithSizes(kTileRows, panel.vectors, [&](auto tile_rows, auto vectors) {
            V sum[tile_rows][vectors] = {};
            Multiply<T, tile_rows, vectors>(sum, {1, 0, 0, g.in_c},
                                            inputs.data() + p * plane + t * g.in_c, g.in_c, 1, b,
                                            width);
            T* to = sums.data() + p * sums_plane + t * width;
            for (int r = 0; r < tile_rows; ++r) {
              for (int v = 0; v < vectors; ++v) Store(to + r * width + v * kWidth<T>, sum[r][v]);
            }
          });
        }
      }
      for (int64_t t = 0; t < count; ++t) {
        const Tile tile = TileAt(tiles, first + t);
        T* out = y + ((tile.image * g.out_h + tile.h) * g.out_w + tile.w) * g.out_c + panel.first;
        for (int64_t v = 0; v < width; v += kWidth<T>) {
          const T* m = sums.data() + t * width + v;
          V half[2][4];  // A^T m
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            auto at = [&](int i) { return Load<V>(m + (4 * i + j) * sums_plane); };
            const V b = at(1), c = at(2);
            half[0][j] = at(0) + b + c;
            half[1][j] = b - c - at(3);
          }
          for (int64_t i = 0; i < std::min<int64_t>(2, g.out_h - tile.h); ++i) {
            const V sum[2][1] = {{half[i][0] + half[i][1] + half[i][2]},
                                 {half[i][1] - half[i][2] - half[i][3]}};
            T* to = out + i * g.out_w * g.out_c + v;
            if (tile.w + 1 < g.out_w) {
              Finish<T, 2, 1>(activation, sum, bias + panel.first + v, to, g.out_c, kWidth<T>);
            } else {
              const V one[1][1] = {{sum[0][0]}};
              Finish<T, 1, 1>(activation, one, bias + panel.first + v, to, g.out_c, kWidth<T>);
            }
          }
        }
      }
    }
  });
}

// dkernel[i, j, c] = sum over pixels of x at (i, j, c) times the gradient; sizes as above.
//
// A task has a slice of the tiles and one row of their points: two rows of B^T and one of A.
template <typename T>
void WinogradKernelGradient(ffi::ThreadPool& pool, const ConvGeometry& g, const T* x,
                            const T* gradient, T* dkernel) {
  using V = Register<T>;
  constexpr int kFirst[4] = {0, 1, 2, 1}, kSecond[4] = {2, 2, 1, 3};  // rows of d in one of B^T d
  constexpr T kSecondFactor[4] = {-1, 1, -1, -1};
  constexpr T kUpper[4] = {1, 1, 1, 0}, kLower[4] = {0, 1, -1, -1};  // A
  const Tiles tiles(g);
  const std::vector<Panel> panels = PanelsOf(g.out_c, kWidth<T>);
  const int64_t size = g.in_c * g.out_c;
  const int64_t fitting = kRowBytes / (4 * (g.in_c + g.out_c) * sizeof(T));
  const int64_t block = std::min(tiles.count, std::clamp<int64_t>(fitting, 128, 512));
  const int64_t wanted = std::clamp<int64_t>(kSliceValues / size, 1, 4);
  const int64_t slices = std::min(wanted, CeilDiv(tiles.count, block));
  // Inputs are [column of points][vector of channels][tile], gradients [column][panel][tile].
  const int64_t plane = block * g.in_c + kWidth<T>, gradient_plane = block * g.out_c + kWidth<T>;
  Scratch<T> sums(slices * kPoints * size), zeros(std::max(g.in_c, g.out_c));
  std::fill_n(zeros.data(), std::max(g.in_c, g.out_c), T(0));

  ParallelFor(pool, slices * 4, [&](int64_t task) {
    const int64_t slice = task / 4, i = task % 4;
    const int64_t begin = slice * tiles.count / slices, end = (slice + 1) * tiles.count / slices;
    T* total = sums.data() + task * 4 * size;
    Scratch<T> inputs(4 * plane), gradients(4 * gradient_plane);
    for (int64_t first = begin; first < end; first += block) {
      const int64_t count = std::min(block, end - first);
      for (int64_t t = 0; t < count; ++t) {
        const Tile tile = TileAt(tiles, first + t);
        const T *a[4], *b[4];
        for (int j = 0; j < 4; ++j) {
          a[j] = InputAt(g, tile, kFirst[i], j, x, zeros.data());
          b[j] = InputAt(g, tile, kSecond[i], j, x, zeros.data());
        }
        for (int64_t c = 0; c < g.in_c; c += kWidth<T>) {
          V d[4];
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            d[j] = Load<V>(a[j] + c) + Load<V>(b[j] + c) * kSecondFactor[i];
          }
          TransformInput(d, 1);
          T* to = inputs.data() + c * block + t * kWidth<T>;
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) Store(to + j * plane, d[j]);
        }
        const T* upper = gradient + ((tile.image * g.out_h + tile.h) * g.out_w + tile.w) * g.out_c;
        const T* lower = tile.h + 1 < g.out_h ? upper + g.out_w * g.out_c : zeros.data();
        const bool right = tile.w + 1 < g.out_w;
        const T* upper_right = right ? upper + g.out_c : zeros.data();
        const T* lower_right = right && lower != zeros.data() ? lower + g.out_c : zeros.data();
        for (const Panel& panel : panels) {
          const int64_t width = panel.vectors * kWidth<T>;
          for (int64_t k = panel.first; k < panel.first + width; k += kWidth<T>) {
            const V left = Load<V>(upper + k) * kUpper[i] + Load<V>(lower + k) * kLower[i];
            const V beside =
                Load<V>(upper_right + k) * kUpper[i] + Load<V>(lower_right + k) * kLower[i];
            T* to = gradients.data() + panel.first * block + t * width + k - panel.first;
            Store(to, left);
            Store(to + gradient_plane, left + beside);
            Store(to + 2 * gradient_plane, left - beside);
            Store(to + 3 * gradient_plane, -beside);
          }
        }
      }
      for (int64_t j = 0; j < 4; ++j) {
        for (const Panel& panel : panels) {
          const T* b = gradients.data() + j * gradient_plane + panel.first * block;
          for (int64_t c = 0; c < g.in_c; c += kChannels<T>) {
            const T* a = inputs.data() + j * plane + c / kWidth<T> * kWidth<T> * block +
                         c % kWidth<T>;
            T* to = total + j * size + c * g.out_c + panel.first;
            WithSizes(kChannels<T>, panel.vectors, [&](auto rows, auto vectors) {
              V sum[rows][vectors] = {};
              Multiply<T, rows, vectors>(sum, {1, 0, 0, count}, a, 1, kWidth<T>, b,
                                         panel.vectors * kWidth<T>);
              for (int r = 0; r < rows; ++r) {
                for (int v = 0; v < vectors; ++v) {
                  T* at = to + r * g.out_c + v * kWidth<T>;
                  Store(at, first == begin ? sum[r][v] : Load<V>(at) + sum[r][v]);
                }
              }
            });
          }
        }
      }
    }
  });
  ParallelFor(pool, g.in_c, [&](int64_t c) {
    for (int64_t k = 0; k < g.out_c; k += kWidth<T>) {
      auto fold = [](V a, V b, V c, V e, V (&out)[3]) {  // G^T (a, b, c, e)
        const V sum = (b + c) * T(0.5);
        out[0] = a + sum, out[1] = (b - c) * T(0.5), out[2] = sum + e;
      };
      auto point = [&](int p) {
        const T* from = sums.data() + p * size + c * g.out_c + k;
        V sum = Load<V>(from);
        for (int64_t n = 1; n < slices; ++n) sum += Load<V>(from + n * kPoints * size);
        return sum;
      };
      V half[4][3], full[3];
      for (int i = 0; i < 4; ++i) {
        fold(point(4 * i), point(4 * i + 1), point(4 * i + 2), point(4 * i + 3), half[i]);
      }
      for (int j = 0; j < 3; ++j) {
        fold(half[0][j], half[1][j], half[2][j], half[3][j], full);
        for (int i = 0; i < 3; ++i) Store(dkernel + (3 * i + j) * size + c * g.out_c + k, full[i]);
      }
    }
  });
}

}  // namespace ecanet
