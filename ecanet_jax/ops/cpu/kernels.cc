// The XLA FFI interface of the CPU kernels, in float or double. The headers hold the kernels.
//
// Images are [N, H, W, C] and dense. Vectors run over channels, so their width reorders no sum.
// Sums over pixels are partial sums over fixed chunks, added in order, so results do not depend on
// the threads. The plain references are in ecanet_jax/ops.

#include "batch_norm.h"
#include "convolution.h"
#include "depthwise.h"
#include "pooling.h"
#include "roi_align.h"
#include "winograd.h"

namespace ecanet {

#ifdef ECANET_DOUBLE
constexpr ffi::DataType kType = ffi::F64;
#define NAMED(name) name##_f64
#else
constexpr ffi::DataType kType = ffi::F32;
#define NAMED(name) name##_f32
#endif

using T = ffi::NativeType<kType>;
using Buffer = ffi::Buffer<kType>;
using Result = ffi::Result<Buffer>;

ConvGeometry ConvGeometryOf(const Buffer& x, ffi::Span<const int64_t> kernel,
                            ffi::Span<const int64_t> y, int64_t stride, int64_t top, int64_t left) {
  const auto a = x.dimensions();
  return {a[0], a[1], a[2], a[3], y[1], y[2], y[3], kernel[0], kernel[1], stride, top, left};
}

ffi::Error ConvolutionForward(ffi::ThreadPool pool, Buffer x, Buffer kernel, Buffer bias, Result y,
                              int64_t stride, int64_t top, int64_t left, int64_t activation) {
  const ConvGeometry g = ConvGeometryOf(x, kernel.dimensions(), y->dimensions(), stride, top, left);
  ConvForward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(), y->typed_data(),
              activation);
  return ffi::Error::Success();
}

ffi::Error ConvolutionWinograd(ffi::ThreadPool pool, Buffer x, Buffer kernel, Buffer bias, Result y,
                               int64_t top, int64_t left, int64_t activation) {
  const ConvGeometry g = ConvGeometryOf(x, kernel.dimensions(), y->dimensions(), 1, top, left);
  WinogradForward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(),
                  y->typed_data(), activation);
  return ffi::Error::Success();
}

ffi::Error ConvolutionKernelGradient(ffi::ThreadPool pool, Buffer x, Buffer gradient,
                                     Result dkernel, int64_t stride, int64_t top, int64_t left) {
  const ConvGeometry g =
      ConvGeometryOf(x, dkernel->dimensions(), gradient.dimensions(), stride, top, left);
  ConvKernelGradient(pool, g, x.typed_data(), gradient.typed_data(), dkernel->typed_data());
  return ffi::Error::Success();
}

ffi::Error ConvolutionWinogradGradient(ffi::ThreadPool pool, Buffer x, Buffer gradient,
                                       Result dkernel, int64_t top, int64_t left) {
  const ConvGeometry g =
      ConvGeometryOf(x, dkernel->dimensions(), gradient.dimensions(), 1, top, left);
  WinogradKernelGradient(pool, g, x.typed_data(), gradient.typed_data(), dkernel->typed_data());
  return ffi::Error::Success();
}

Geometry GeometryOf(const Buffer& x, const Buffer& kernel, const Buffer& y, int64_t stride,
                    int64_t top, int64_t left) {
  const auto a = x.dimensions(), k = kernel.dimensions(), b = y.dimensions();
  return {a[0], a[1], a[2], a[3], b[1], b[2], k[0], k[1], stride, top, left};
}

ffi::Error CheckStride(int64_t stride) {
  if (stride == 1 || stride == 2) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("the stride must be 1 or 2");
}

ffi::Error DepthwiseForward(ffi::ThreadPool pool, Buffer x, Buffer kernel, Buffer bias, Result y,
                            int64_t stride, int64_t top, int64_t left, int64_t activation) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf(x, kernel, *y, stride, top, left);
  Forward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(), activation,
          y->typed_data());
  return ffi::Error::Success();
}

ffi::Error DepthwiseBackward(ffi::ThreadPool pool, Buffer x, Buffer kernel, Buffer gradient,
                             Result dx, Result dkernel, int64_t stride, int64_t top, int64_t left) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf(x, kernel, gradient, stride, top, left);
  Backward(pool, g, x.typed_data(), kernel.typed_data(), gradient.typed_data(), dx->typed_data(),
           dkernel->typed_data());
  return ffi::Error::Success();
}

Geometry WindowOf(const Buffer& x, ffi::Span<const int64_t> y, int64_t kernel, int64_t stride,
                  int64_t top, int64_t left) {
  const auto a = x.dimensions();
  return {a[0], a[1], a[2], a[3], y[1], y[2], kernel, kernel, stride, top, left};
}

ffi::Error MaxPoolForward(ffi::ThreadPool pool, Buffer x, Result y, int64_t kernel, int64_t stride,
                          int64_t top, int64_t left) {
  const Geometry g = WindowOf(x, y->dimensions(), kernel, stride, top, left);
  MaxPool(pool, g, x.typed_data(), y->typed_data());
  return ffi::Error::Success();
}

ffi::Error MaxPoolBackward(ffi::ThreadPool pool, Buffer x, Buffer y, Buffer gradient, Result dx,
                           int64_t kernel, int64_t stride, int64_t top, int64_t left) {
  const Geometry g = WindowOf(x, y.dimensions(), kernel, stride, top, left);
  MaxPoolGradient(pool, g, x.typed_data(), y.typed_data(), gradient.typed_data(),
                  dx->typed_data());
  return ffi::Error::Success();
}

// Cells are [..., P, C], RoIs [..., R, 7], bins [..., R, size, size, C] with the same leading axes.
RoiGeometry RoisOf(ffi::Span<const int64_t> cells, const Buffer& rois,
                   ffi::Span<const int64_t> bins, int64_t samples) {
  int64_t batch = 1;
  for (size_t axis = 0; axis + 2 < cells.size(); ++axis) batch *= cells[axis];
  const auto last = [](ffi::Span<const int64_t> d, size_t from_end) { return d[d.size() - from_end]; };
  return {batch, last(cells, 2), last(cells, 1), last(rois.dimensions(), 2), last(bins, 2), samples};
}

ffi::Error RoiAlignForward(ffi::ThreadPool pool, Buffer cells, Buffer rois, Result y,
                           int64_t samples) {
  const RoiGeometry g = RoisOf(cells.dimensions(), rois, y->dimensions(), samples);
  RoiAlign(pool, g, cells.typed_data(), rois.typed_data(), y->typed_data());
  return ffi::Error::Success();
}

ffi::Error RoiAlignBackward(ffi::ThreadPool pool, Buffer rois, Buffer gradient, Result dcells,
                            int64_t samples) {
  const RoiGeometry g = RoisOf(dcells->dimensions(), rois, gradient.dimensions(), samples);
  RoiAlignGradient(pool, g, rois.typed_data(), gradient.typed_data(), dcells->typed_data());
  return ffi::Error::Success();
}

// x is [groups, rows, C]; per-channel arrays are [groups, C], the origin [C].
ffi::Error NormMoments(ffi::ThreadPool pool, Buffer x, Buffer origin, Result first, Result second) {
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

ffi::Error NormApplySum(ffi::ThreadPool pool, Buffer x, Buffer scale, Buffer shift, Result y,
                        Result total, int64_t activation) {
  const auto d = x.dimensions();
  BY_ACTIVATION(ApplySum, pool, d[0], d[1], d[2], x.typed_data(), scale.typed_data(),
                shift.typed_data(), y->typed_data(), total->typed_data())
}

ffi::Error NormApply(ffi::ThreadPool pool, Buffer x, Buffer scale, Buffer shift, Buffer gate,
                     Result y, int64_t activation) {
  const auto d = x.dimensions();
  BY_ACTIVATION(Apply, pool, d[0], d[1], d[2], x.typed_data(), scale.typed_data(),
                shift.typed_data(), gate.typed_data(), y->typed_data())
}

ffi::Error NormGradientSums(ffi::ThreadPool pool, Buffer x, Buffer gradient, Buffer scale,
                            Buffer shift, Buffer mean, Result first, Result second,
                            int64_t activation) {
  const auto d = x.dimensions();
  const std::array<T*, 2> out = {first->typed_data(), second->typed_data()};
  BY_ACTIVATION(GradientSums, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), out)
}

ffi::Error NormAttendedSums(ffi::ThreadPool pool, Buffer x, Buffer gradient, Buffer scale,
                            Buffer shift, Buffer mean, Result first, Result second, Result product,
                            Result slopes, Result moment, int64_t activation) {
  const auto d = x.dimensions();
  const std::array<T*, 5> out = {first->typed_data(), second->typed_data(), product->typed_data(),
                                 slopes->typed_data(), moment->typed_data()};
  BY_ACTIVATION(GradientSums, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), out)
}

ffi::Error NormInputGradient(ffi::ThreadPool pool, Buffer x, Buffer gradient, Buffer scale,
                             Buffer shift, Buffer mean, Buffer factor, Buffer constant, Buffer gate,
                             Buffer addend, Result dx, int64_t activation) {
  const auto d = x.dimensions();
  BY_ACTIVATION(InputGradient, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), factor.typed_data(),
                constant.typed_data(), gate.typed_data(), addend.typed_data(), dx->typed_data())
}

#define IN .Arg<Buffer>()
#define OUT .Ret<Buffer>()
#define CORNER .Attr<int64_t>("top").Attr<int64_t>("left")
#define GEOMETRY .Attr<int64_t>("stride") CORNER
#define WINDOW .Attr<int64_t>("kernel") GEOMETRY
#define SAMPLES .Attr<int64_t>("samples")
#define ACTIVATION .Attr<int64_t>("activation")
#define HANDLER(name, function, binding) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(         \
      NAMED(name), function, ffi::Ffi::Bind().Ctx<ffi::ThreadPool>() binding)

HANDLER(convolution_forward, ConvolutionForward, IN IN IN OUT GEOMETRY ACTIVATION);
HANDLER(convolution_kernel_gradient, ConvolutionKernelGradient, IN IN OUT GEOMETRY);
HANDLER(convolution_winograd, ConvolutionWinograd, IN IN IN OUT CORNER ACTIVATION);
HANDLER(convolution_winograd_gradient, ConvolutionWinogradGradient, IN IN OUT CORNER);
HANDLER(depthwise_forward, DepthwiseForward, IN IN IN OUT GEOMETRY ACTIVATION);
HANDLER(depthwise_backward, DepthwiseBackward, IN IN IN OUT OUT GEOMETRY);
HANDLER(max_pool, MaxPoolForward, IN OUT WINDOW);
HANDLER(max_pool_gradient, MaxPoolBackward, IN IN IN OUT WINDOW);
HANDLER(roi_align, RoiAlignForward, IN IN OUT SAMPLES);
HANDLER(roi_align_gradient, RoiAlignBackward, IN IN OUT SAMPLES);
HANDLER(norm_moments, NormMoments, IN IN OUT OUT);
HANDLER(norm_apply, NormApply, IN IN IN IN OUT ACTIVATION);
HANDLER(norm_apply_sum, NormApplySum, IN IN IN OUT OUT ACTIVATION);
HANDLER(norm_gradient_sums, NormGradientSums, IN IN IN IN IN OUT OUT ACTIVATION);
HANDLER(norm_attended_sums, NormAttendedSums, IN IN IN IN IN OUT OUT OUT OUT OUT ACTIVATION);
HANDLER(norm_input_gradient, NormInputGradient, IN IN IN IN IN IN IN IN IN OUT ACTIVATION);

}  // namespace ecanet
