// The XLA FFI interface of the CPU kernels, in float and double. The headers hold the kernels.
//
// Images are [N, H, W, C] and dense. Vectors run over channels, so their width reorders no sum.
// Sums over pixels are partial sums over fixed chunks, added in order, so results do not depend on
// the threads. The plain references are in ecanet_jax/ops.

#include "batch_norm.h"
#include "convolution.h"
#include "depthwise.h"
#include "pooling.h"
#include "winograd.h"

namespace ecanet {

template <ffi::DataType kType>
using Buffer = ffi::Buffer<kType>;
template <ffi::DataType kType>
using Result = ffi::Result<ffi::Buffer<kType>>;

template <ffi::DataType kType>
ConvGeometry ConvGeometryOf(const Buffer<kType>& x, ffi::Span<const int64_t> kernel,
                            ffi::Span<const int64_t> y, int64_t stride, int64_t top, int64_t left) {
  const auto a = x.dimensions();
  return {a[0], a[1], a[2], a[3], y[1], y[2], y[3], kernel[0], kernel[1], stride, top, left};
}

template <ffi::DataType kType>
ffi::Error ConvolutionForward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                              Buffer<kType> bias, Result<kType> y, int64_t stride, int64_t top,
                              int64_t left, int64_t activation) {
  const ConvGeometry g =
      ConvGeometryOf<kType>(x, kernel.dimensions(), y->dimensions(), stride, top, left);
  ConvForward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(), y->typed_data(),
              activation);
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error ConvolutionWinograd(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                               Buffer<kType> bias, Result<kType> y, int64_t top, int64_t left,
                               int64_t activation) {
  const ConvGeometry g =
      ConvGeometryOf<kType>(x, kernel.dimensions(), y->dimensions(), 1, top, left);
  WinogradForward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(),
                  y->typed_data(), activation);
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error ConvolutionKernelGradient(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                                     Result<kType> dkernel, int64_t stride, int64_t top,
                                     int64_t left) {
  const ConvGeometry g = ConvGeometryOf<kType>(x, dkernel->dimensions(), gradient.dimensions(),
                                               stride, top, left);
  ConvKernelGradient(pool, g, x.typed_data(), gradient.typed_data(), dkernel->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error ConvolutionWinogradGradient(ffi::ThreadPool pool, Buffer<kType> x,
                                       Buffer<kType> gradient, Result<kType> dkernel, int64_t top,
                                       int64_t left) {
  const ConvGeometry g =
      ConvGeometryOf<kType>(x, dkernel->dimensions(), gradient.dimensions(), 1, top, left);
  WinogradKernelGradient(pool, g, x.typed_data(), gradient.typed_data(), dkernel->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
Geometry GeometryOf(const Buffer<kType>& x, const Buffer<kType>& kernel, const Buffer<kType>& y,
                    int64_t stride, int64_t top, int64_t left) {
  const auto a = x.dimensions(), k = kernel.dimensions(), b = y.dimensions();
  return {a[0], a[1], a[2], a[3], b[1], b[2], k[0], k[1], stride, top, left};
}

ffi::Error CheckStride(int64_t stride) {
  if (stride == 1 || stride == 2) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("the stride must be 1 or 2");
}

template <ffi::DataType kType>
ffi::Error DepthwiseForward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                            Buffer<kType> bias, Result<kType> y, int64_t stride, int64_t top,
                            int64_t left, int64_t activation) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf<kType>(x, kernel, *y, stride, top, left);
  Forward(pool, g, x.typed_data(), kernel.typed_data(), bias.typed_data(), activation,
          y->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error DepthwiseBackward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> kernel,
                             Buffer<kType> gradient, Result<kType> dx, Result<kType> dkernel,
                             int64_t stride, int64_t top, int64_t left) {
  if (ffi::Error error = CheckStride(stride); error.failure()) return error;
  const Geometry g = GeometryOf<kType>(x, kernel, gradient, stride, top, left);
  Backward(pool, g, x.typed_data(), kernel.typed_data(), gradient.typed_data(), dx->typed_data(),
           dkernel->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
Geometry WindowOf(const Buffer<kType>& x, ffi::Span<const int64_t> y, int64_t kernel,
                  int64_t stride, int64_t top, int64_t left) {
  const auto a = x.dimensions();
  return {a[0], a[1], a[2], a[3], y[1], y[2], kernel, kernel, stride, top, left};
}

template <ffi::DataType kType>
ffi::Error MaxPoolForward(ffi::ThreadPool pool, Buffer<kType> x, Result<kType> y, int64_t kernel,
                          int64_t stride, int64_t top, int64_t left) {
  const Geometry g = WindowOf<kType>(x, y->dimensions(), kernel, stride, top, left);
  MaxPool(pool, g, x.typed_data(), y->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error MaxPoolBackward(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> y,
                           Buffer<kType> gradient, Result<kType> dx, int64_t kernel,
                           int64_t stride, int64_t top, int64_t left) {
  const Geometry g = WindowOf<kType>(x, y.dimensions(), kernel, stride, top, left);
  MaxPoolGradient(pool, g, x.typed_data(), y.typed_data(), gradient.typed_data(),
                  dx->typed_data());
  return ffi::Error::Success();
}

// x is [groups, rows, C]; per-channel arrays are [groups, C], the origin [C].
template <ffi::DataType kType>
ffi::Error NormMoments(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> origin,
                       Result<kType> first, Result<kType> second) {
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

template <ffi::DataType kType>
ffi::Error NormApplySum(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> scale,
                        Buffer<kType> shift, Result<kType> y, Result<kType> total,
                        int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(ApplySum, pool, d[0], d[1], d[2], x.typed_data(), scale.typed_data(),
                shift.typed_data(), y->typed_data(), total->typed_data())
}

template <ffi::DataType kType>
ffi::Error NormApply(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> scale,
                     Buffer<kType> shift, Buffer<kType> gate, Result<kType> y,
                     int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(Apply, pool, d[0], d[1], d[2], x.typed_data(), scale.typed_data(),
                shift.typed_data(), gate.typed_data(), y->typed_data())
}

template <ffi::DataType kType>
ffi::Error NormGradientSums(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                            Buffer<kType> scale, Buffer<kType> shift, Buffer<kType> mean,
                            Result<kType> first, Result<kType> second, int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  const std::array<T*, 2> out = {first->typed_data(), second->typed_data()};
  BY_ACTIVATION(GradientSums, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), out)
}

template <ffi::DataType kType>
ffi::Error NormAttendedSums(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                            Buffer<kType> scale, Buffer<kType> shift, Buffer<kType> mean,
                            Result<kType> first, Result<kType> second, Result<kType> product,
                            Result<kType> slopes, Result<kType> moment, int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  const std::array<T*, 5> out = {first->typed_data(), second->typed_data(), product->typed_data(),
                                 slopes->typed_data(), moment->typed_data()};
  BY_ACTIVATION(GradientSums, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), out)
}

template <ffi::DataType kType>
ffi::Error NormInputGradient(ffi::ThreadPool pool, Buffer<kType> x, Buffer<kType> gradient,
                             Buffer<kType> scale, Buffer<kType> shift, Buffer<kType> mean,
                             Buffer<kType> factor, Buffer<kType> constant, Buffer<kType> gate,
                             Buffer<kType> addend, Result<kType> dx, int64_t activation) {
  using T = ffi::NativeType<kType>;
  const auto d = x.dimensions();
  BY_ACTIVATION(InputGradient, pool, d[0], d[1], d[2], x.typed_data(), gradient.typed_data(),
                scale.typed_data(), shift.typed_data(), mean.typed_data(), factor.typed_data(),
                constant.typed_data(), gate.typed_data(), addend.typed_data(), dx->typed_data())
}

#define CORNER .Attr<int64_t>("top").Attr<int64_t>("left")
#define GEOMETRY .Attr<int64_t>("stride") CORNER
#define DEFINE(suffix, type)                                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      convolution_forward_##suffix, ConvolutionForward<type>,                                 \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>() GEOMETRY.Attr<int64_t>("activation"));     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      convolution_kernel_gradient_##suffix, ConvolutionKernelGradient<type>,                  \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Ret<Buffer<type>>() GEOMETRY);                                                     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      convolution_winograd_##suffix, ConvolutionWinograd<type>,                               \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>() CORNER.Attr<int64_t>("activation"));       \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      convolution_winograd_gradient_##suffix, ConvolutionWinogradGradient<type>,              \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Ret<Buffer<type>>() CORNER);                                                       \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      depthwise_forward_##suffix, DepthwiseForward<type>,                                     \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>() GEOMETRY.Attr<int64_t>("activation"));     \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      depthwise_backward_##suffix, DepthwiseBackward<type>,                                   \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>().Ret<Buffer<type>>() GEOMETRY);             \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      max_pool_##suffix, MaxPoolForward<type>,                                                \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Ret<Buffer<type>>()         \
          .Attr<int64_t>("kernel") GEOMETRY);                                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      max_pool_gradient_##suffix, MaxPoolBackward<type>,                                      \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>().Attr<int64_t>("kernel") GEOMETRY);         \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_moments_##suffix, NormMoments<type>,                                               \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Ret<Buffer<type>>().Ret<Buffer<type>>());                                          \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_apply_##suffix, NormApply<type>,                                                   \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Ret<Buffer<type>>()                        \
          .Attr<int64_t>("activation"));                                                      \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_apply_sum_##suffix, NormApplySum<type>,                                            \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Ret<Buffer<type>>().Ret<Buffer<type>>()                        \
          .Attr<int64_t>("activation"));                                                      \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_gradient_sums_##suffix, NormGradientSums<type>,                                    \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Ret<Buffer<type>>()    \
          .Ret<Buffer<type>>().Attr<int64_t>("activation"));                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_attended_sums_##suffix, NormAttendedSums<type>,                                    \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Ret<Buffer<type>>()    \
          .Ret<Buffer<type>>().Ret<Buffer<type>>().Ret<Buffer<type>>().Ret<Buffer<type>>()    \
          .Attr<int64_t>("activation"));                                                      \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                              \
      norm_input_gradient_##suffix, NormInputGradient<type>,                                  \
      ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Buffer<type>>().Arg<Buffer<type>>()         \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>()    \
          .Arg<Buffer<type>>().Arg<Buffer<type>>().Arg<Buffer<type>>().Ret<Buffer<type>>()    \
          .Attr<int64_t>("activation"));

#ifdef ECANET_DOUBLE
DEFINE(f64, ffi::F64)
#else
DEFINE(f32, ffi::F32)
#endif

}  // namespace ecanet
