#pragma once

// Direct convolution, 1x1 and larger: forward with bias and activation, and the kernel's gradient.
// (The input's gradient is a forward convolution with the flipped kernel.)
//
// A tile of kTileRows pixels (or input channels) times kTileVectors vectors of output channels is
// summed in registers. The kernel is copied into panels as wide as a tile, and a task's pixels fit
// into the L2 cache.

#include <cstdlib>
#include <memory>
#include <vector>

#include "threads.h"
#include "vectors.h"

namespace ecanet {

#if defined(__AVX512F__)
constexpr int kRegister = 64, kTileRows = 8, kTileVectors = 3;
#elif defined(__AVX__)
constexpr int kRegister = 32, kTileRows = 4, kTileVectors = 3;
#elif defined(__aarch64__)
constexpr int kRegister = 16, kTileRows = 8, kTileVectors = 3;
#else
constexpr int kRegister = 16, kTileRows = 4, kTileVectors = 3;
#endif

constexpr int64_t kTaskBytes = 192 * 1024;  // of a task's pixels, input and output
constexpr int64_t kSumPixels = 160;         // pixels whose gradients, a tile wide, fit into L1
constexpr int64_t kTasks = 8;               // fewest tasks, if there is enough work
constexpr int64_t kPackPixels = 128;        // fewest pixels for which copying the kernel pays

template <typename T>
using Register = Vector<T, kRegister>;
template <typename T>
constexpr int64_t kWidth = kRegister / sizeof(T);

struct ConvGeometry {
  int64_t batch, in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride, top, left;

  int64_t Depth() const { return kernel_h * kernel_w * in_c; }
  int64_t Pixels() const { return batch * out_h * out_w; }
  // Whether the whole convolution is one matrix product.
  bool Flat() const { return kernel_h * kernel_w * stride == 1 && out_h == in_h && out_w == in_w; }
};

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t a, int64_t b) { return CeilDiv(a, b) * b; }

// Uninitialised memory that starts at a cache line.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<T*>(std::aligned_alloc(64, RoundUp(size * sizeof(T) + 1, 64)))) {}
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() { return data_; }

 private:
  T* data_;
};

// Output channels from `first` on: at most as many vectors as a tile has.
struct Panel {
  int64_t first, vectors;
};

inline std::vector<Panel> PanelsOf(int64_t channels, int64_t width) {
  std::vector<Panel> panels;
  int64_t left = CeilDiv(channels, width);
  for (int64_t first = 0; left > 0;) {
    int64_t vectors = std::min<int64_t>(left, kTileVectors);
    if (left == kTileVectors + 1) vectors = left / 2;  // 2 + 2 rather than 3 + 1
    panels.push_back({first, vectors});
    first += vectors * width;
    left -= vectors;
  }
  return panels;
}

// Runs of `count` values each; the starts of two runs are a_run and b_run apart in a and b.
struct Runs {
  int64_t runs, a_run, b_run, count;
};

// sum[p][v] += over r and k of a[p * a_row + r * a_run + k * a_step] times vector v at
// b[r * b_run + k * b_step].
template <typename T, int kRows, int kVectors>
inline __attribute__((always_inline)) void Multiply(Register<T> (&sum)[kRows][kVectors], Runs at,
                                                    const T* a, int64_t a_row, int64_t a_step,
                                                    const T* b, int64_t b_step) {
  using V = Register<T>;
  V local[kRows][kVectors];  // stays in registers: no other pointer reaches it
#pragma GCC unroll 8
  for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) local[p][v] = sum[p][v];
  }
  for (int64_t r = 0; r < at.runs; ++r, a += at.a_run, b += at.b_run) {
    for (int64_t k = 0; k < at.count; ++k) {
      V w[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) w[v] = Load<V>(b + k * b_step + v * kWidth<T>);
#pragma GCC unroll 8
      for (int p = 0; p < kRows; ++p) {
        const V value = a[p * a_row + k * a_step] - V{};
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) local[p][v] += value * w[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[p][v] = local[p][v];
  }
}

// Calls f with both numbers as compile-time constants, each at most a tile's.
template <typename F, int kRows = kTileRows, int kVectors = kTileVectors>
inline void WithSizes(int64_t rows, int64_t vectors, F f) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) return WithSizes<F, kRows, kVectors - 1>(rows, vectors, f);
  }
  if constexpr (kRows > 1) {
    if (rows < kRows) return WithSizes<F, kRows - 1, kVectors>(rows, vectors, f);
  }
  f(std::integral_constant<int, kRows>{}, std::integral_constant<int, kVectors>{});
}

// Stores the first n of a vector's values; half a vector, the usual remainder, in one piece.
template <typename T>
inline void StoreFirst(T* to, Register<T> value, int64_t n) {
  if (n == kWidth<T>) {
    Store(to, value);
  } else if (n == kWidth<T> / 2) {
    std::memcpy(to, &value, kRegister / 2);
  } else {
    std::memcpy(to, &value, n * sizeof(T));
  }
}

// y = act(sum + bias) for the pixels of a tile, y_row apart in y. The last vector has `last`
// channels.
template <typename T, int kActivation, int kRows, int kVectors>
inline __attribute__((always_inline)) void StoreTile(const Register<T> (&sum)[kRows][kVectors],
                                                     const T* bias, T* y, int64_t y_row,
                                                     int64_t last) {
  using V = Register<T>;
  V b[kVectors], unused;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) b[v] = Load<V>(bias + v * kWidth<T>);
#pragma GCC unroll 8
  for (int p = 0; p < kRows; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const V value = Activate<kActivation, false>(sum[p][v] + b[v], &unused);
      T* to = y + p * y_row + v * kWidth<T>;
      if (v + 1 < kVectors) {
        Store(to, value);
      } else {
        StoreFirst(to, value, last);
      }
    }
  }
}

template <typename T, int kRows, int kVectors>
inline __attribute__((always_inline)) void Finish(int64_t activation,
                                                  const Register<T> (&sum)[kRows][kVectors],
                                                  const T* bias, T* y, int64_t y_row,
                                                  int64_t channels) {
  const int64_t last = std::min(kWidth<T>, channels - (kVectors - 1) * kWidth<T>);
  switch (activation) {
    case kSwish: return StoreTile<T, kSwish>(sum, bias, y, y_row, last);
    case kRelu: return StoreTile<T, kRelu>(sum, bias, y, y_row, last);
    case kRelu6: return StoreTile<T, kRelu6>(sum, bias, y, y_row, last);
    default: return StoreTile<T, kNone>(sum, bias, y, y_row, last);
  }
}

// Copies `vectors` vectors of each row; missing channels are zeros.
template <typename T>
void CopyPanel(const T* from, int64_t row, int64_t rows, int64_t vectors, int64_t channels, T* to) {
  const int64_t width = vectors * kWidth<T>;
  for (int64_t r = 0; r < rows; ++r, from += row, to += width) {
    if (channels >= width) {
      for (int64_t v = 0; v < width; v += kWidth<T>) Store(to + v, Load<Register<T>>(from + v));
    } else {
      std::memcpy(to, from, channels * sizeof(T));
      std::fill_n(to + channels, width - channels, T(0));
    }
  }
}

// Rows [from, to) of image n, padding included: [to - from, columns, C].
template <typename T>
void CopyPadded(const ConvGeometry& g, const T* x, int64_t n, int64_t from, int64_t to,
                int64_t columns, T* out) {
  const int64_t before = g.left, inside = std::min(g.in_w, columns - before);
  for (int64_t r = from; r < to; ++r, out += columns * g.in_c) {
    if (r < 0 || r >= g.in_h) {
      std::fill_n(out, columns * g.in_c, T(0));
      continue;
    }
    const T* row = x + (n * g.in_h + r) * g.in_w * g.in_c;
    std::fill_n(out, before * g.in_c, T(0));
    std::memcpy(out + before * g.in_c, row, inside * g.in_c * sizeof(T));
    std::fill_n(out + (before + inside) * g.in_c, (columns - before - inside) * g.in_c, T(0));
  }
}

// y = act(conv(x, kernel) + bias).
template <typename T>
void ConvForward(ffi::ThreadPool& pool, const ConvGeometry& g, const T* x, const T* kernel,
                 const T* bias, T* y, int64_t activation) {
  const int64_t depth = g.Depth(), padded_c = RoundUp(g.out_c, kWidth<T>);
  const std::vector<Panel> panels = PanelsOf(g.out_c, kWidth<T>);
  const int64_t count = panels.size();
  const bool pack = g.Pixels() >= kPackPixels;
  auto packed_panel = [&](const Panel& p) {
    return pack || p.first + p.vectors * kWidth<T> > g.out_c;
  };
  Scratch<T> packed(depth * padded_c), biases(padded_c);
  std::copy_n(bias, g.out_c, biases.data());
  std::fill_n(biases.data() + g.out_c, padded_c - g.out_c, T(0));
  ParallelFor(pool, count, [&](int64_t p) {
    const Panel& panel = panels[p];
    if (packed_panel(panel)) {
      CopyPanel<T>(kernel + panel.first, g.out_c, depth, panel.vectors, g.out_c - panel.first,
                   packed.data() + panel.first * depth);
    }
  });

  // A task is a few panels of one band: `lines` output lines of `line` pixels.
  const int64_t bytes = (g.in_c * g.stride * g.stride + g.out_c) * sizeof(T);
  const int64_t wanted = std::max<int64_t>(8 * kTileRows, kTaskBytes / bytes);
  const bool flat = g.Flat();
  const int64_t line = flat ? RoundUp(std::min(wanted, CeilDiv(g.Pixels(), kTasks)), kTileRows)
                            : g.out_w;
  const int64_t fitting = flat ? 1 : std::min(g.out_h, std::max<int64_t>(1, wanted / g.out_w));
  const int64_t per_image = flat ? 1 : CeilDiv(g.out_h, fitting);
  const int64_t lines = flat ? 1 : CeilDiv(g.out_h, per_image);
  const int64_t bands = flat ? CeilDiv(g.Pixels(), line) : g.batch * per_image;
  const int64_t groups = std::min(count, CeilDiv(kTasks, bands));
  // Columns that the windows reach, and whether all of them lie inside the image.
  const int64_t columns = (g.out_w - 1) * g.stride + g.kernel_w;
  const bool inside = g.top == 0 && g.left == 0 && columns <= g.in_w &&
                      (g.out_h - 1) * g.stride + g.kernel_h <= g.in_h;
  ParallelFor(pool, bands * groups, [&](int64_t t) {
    const int64_t band = t / groups, group = t % groups;
    const T* a;
    T* to;
    int64_t rows, pixels = line, a_line = 0, a_run = 0;
    std::unique_ptr<Scratch<T>> scratch;
    if (flat) {
      pixels = std::min(line, g.Pixels() - band * line);
      rows = 1;
      a = x + band * line * g.in_c;
      to = y + band * line * g.out_c;
    } else {
      const int64_t n = band / per_image, h = band % per_image * lines;
      rows = std::min(lines, g.out_h - h);
      to = y + (n * g.out_h + h) * g.out_w * g.out_c;
      const int64_t from = h * g.stride - g.top;
      if (inside) {
        a_run = g.in_w * g.in_c;
        a = x + (n * g.in_h + from) * a_run;
      } else {
        const int64_t reach = (rows - 1) * g.stride + g.kernel_h;
        a_run = columns * g.in_c;
        scratch = std::make_unique<Scratch<T>>(reach * a_run);
        CopyPadded(g, x, n, from, from + reach, columns, scratch->data());
        a = scratch->data();
      }
      a_line = g.stride * a_run;
    }
    const int64_t a_row = g.stride * g.in_c, run = g.kernel_w * g.in_c;
    for (int64_t p = group * count / groups; p < (group + 1) * count / groups; ++p) {
      const Panel& panel = panels[p];
      const bool copied = packed_panel(panel);
      const T* b = copied ? packed.data() + panel.first * depth : kernel + panel.first;
      const int64_t b_step = copied ? panel.vectors * kWidth<T> : g.out_c;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t w = 0; w < pixels; w += kTileRows) {
          const T* at = a + r * a_line + w * a_row;
          T* out = to + (r * g.out_w + w) * g.out_c + panel.first;
          WithSizes(std::min<int64_t>(kTileRows, pixels - w), panel.vectors,
                    [&](auto tile_rows, auto vectors) {
            Register<T> sum[tile_rows][vectors] = {};
            Multiply<T, tile_rows, vectors>(sum, {g.kernel_h, a_run, run * b_step, run}, at, a_row,
                                            1, b, b_step);
            Finish<T, tile_rows, vectors>(activation, sum, biases.data() + panel.first, out,
                                          g.out_c, g.out_c - panel.first);
          });
        }
      }
    }
  });
}

// Adds x * gradient at one tap to sum, for kRows input channels from c on and the output lines
// [from, to). `out` holds the gradient, kVectors vectors of each pixel.
template <typename T, int kRows, int kVectors>
inline __attribute__((always_inline)) void AddTap(Register<T> (&sum)[kRows][kVectors],
                                                  const ConvGeometry& g, const T* x, const T* out,
                                                  int64_t from, int64_t to, int64_t i, int64_t j,
                                                  int64_t c) {
  constexpr int64_t kStep = kVectors * kWidth<T>;
  const int64_t s = g.stride;
  // This tap is inside for lines [top, bottom) of an image and pixels [left, right) of a line.
  auto begin = [s](int64_t outside) { return CeilDiv(std::max<int64_t>(0, outside), s); };
  auto end = [s](int64_t reach) { return reach < 0 ? 0 : reach / s + 1; };
  const int64_t left = begin(g.left - j), right = std::min(g.out_w, end(g.in_w - 1 + g.left - j));
  const int64_t top = begin(g.top - i), bottom = std::min(g.out_h, end(g.in_h - 1 + g.top - i));
  if (right <= left) return;
  for (int64_t l = from; l < to;) {  // image by image
    const int64_t n = l / g.out_h, last = std::min(to, (n + 1) * g.out_h);
    const int64_t low = std::max(l - n * g.out_h, top), high = std::min(last - n * g.out_h, bottom);
    l = last;
    if (high <= low) continue;
    const int64_t r = low * s + i - g.top, w = left * s + j - g.left;
    const int64_t a_line = s * g.in_w * g.in_c;
    const T* a = x + ((n * g.in_h + r) * g.in_w + w) * g.in_c + c;
    const T* b = out + ((n * g.out_h + low - from) * g.out_w + left) * kStep;
    if (g.out_w == 1) {
      Multiply<T, kRows, kVectors>(sum, {1, 0, 0, high - low}, a, 1, a_line, b, kStep);
    } else {
      Multiply<T, kRows, kVectors>(sum, {high - low, a_line, g.out_w * kStep, right - left}, a, 1,
                                   s * g.in_c, b, kStep);
    }
  }
}

template <typename T>
inline void Prefetch(const T* from, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / sizeof(T)) __builtin_prefetch(from + i, 0, 2);
}

// dkernel[i, j, c] = sum over pixels of x at (i, j, c) times the gradient.
template <typename T>
void ConvKernelGradient(ffi::ThreadPool& pool, const ConvGeometry& given, const T* x,
                        const T* gradient, T* dkernel) {
  ConvGeometry g = given;
  if (g.Flat()) {  // pixels are independent
    g.in_h = g.out_h = given.Pixels();
    g.batch = g.in_w = g.out_w = 1;
  }
  const int64_t depth = g.Depth(), padded_c = RoundUp(g.out_c, kWidth<T>), size = depth * padded_c;
  const std::vector<Panel> panels = PanelsOf(g.out_c, kWidth<T>);
  const int64_t lines = g.batch * g.out_h;
  const int64_t per_band = std::max<int64_t>(1, kSumPixels / g.out_w);
  const int64_t bands = CeilDiv(lines, per_band);
  // Slices of the bands have their own sums; if these are large, the kernel is split, too.
  const int64_t tiles = CeilDiv(g.in_c, kTileRows), units = g.kernel_h * g.kernel_w * tiles;
  const int64_t most = std::max<int64_t>(1, std::min<int64_t>(16, (1 << 20) / size));
  const int64_t slices = std::min(bands, most), parts = std::min(units, CeilDiv(kTasks, slices));
  Scratch<T> sums(slices * size);
  ParallelFor(pool, slices * parts, [&](int64_t t) {
    const int64_t slice = t / parts, part = t % parts;
    const int64_t first_unit = part * units / parts, last_unit = (part + 1) * units / parts;
    T* total = sums.data() + slice * size;
    Scratch<T> out(per_band * g.out_w * kTileVectors * kWidth<T>);
    const int64_t first_band = slice * bands / slices, last_band = (slice + 1) * bands / slices;
    for (int64_t band = first_band; band < last_band; ++band) {
      const int64_t from = band * per_band, to = std::min(lines, from + per_band);
      // Tiles jump from pixel to pixel, so the band is prefetched in memory order.
      Prefetch(gradient + from * g.out_w * g.out_c, (to - from) * g.out_w * g.out_c);
      if (g.out_w == 1) Prefetch(x + from * g.in_c, (to - from) * g.in_c);
      for (const Panel& panel : panels) {
        const int64_t width = panel.vectors * kWidth<T>;
        CopyPanel<T>(gradient + from * g.out_w * g.out_c + panel.first, g.out_c,
                     (to - from) * g.out_w, panel.vectors, g.out_c - panel.first, out.data());
        for (int64_t unit = first_unit; unit < last_unit; ++unit) {
          const int64_t c = unit % tiles * kTileRows, tap = unit / tiles;
          T* row = total + (tap * g.in_c + c) * padded_c + panel.first;
          WithSizes(std::min<int64_t>(kTileRows, g.in_c - c), panel.vectors,
                    [&](auto rows, auto vectors) {
            Register<T> sum[rows][vectors] = {};
            AddTap<T, rows, vectors>(sum, g, x, out.data(), from, to, tap / g.kernel_w,
                                     tap % g.kernel_w, c);
            for (int p = 0; p < rows; ++p) {
              for (int v = 0; v < vectors; ++v) {
                T* at = row + p * padded_c + v * kWidth<T>;
                Store(at, band == first_band ? sum[p][v] : Load<Register<T>>(at) + sum[p][v]);
              }
            }
          });
        }
      }
    }
  });
  ParallelFor(pool, CeilDiv(depth, 64), [&](int64_t t) {
    for (int64_t k = t * 64; k < std::min(depth, (t + 1) * 64); ++k) {
      T* to = dkernel + k * g.out_c;
      std::memcpy(to, sums.data() + k * padded_c, g.out_c * sizeof(T));
      for (int64_t slice = 1; slice < slices; ++slice) {
        const T* from = sums.data() + slice * size + k * padded_c;
        for (int64_t n = 0; n < g.out_c; ++n) to[n] += from[n];
      }
    }
  });
}

}  // namespace ecanet
