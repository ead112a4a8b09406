// Resizing as a TensorFlow operation, through the C interface.

#include <memory>

#include "resize.h"
#include "tensorflow/c/kernels.h"
#include "tensorflow/c/ops.h"

namespace ecanet {

constexpr char kResize[] = "EcanetJaxResize";

using Status = std::unique_ptr<TF_Status, decltype(&TF_DeleteStatus)>;
using Tensor = std::unique_ptr<TF_Tensor, decltype(&TF_DeleteTensor)>;

inline Status NewStatus() { return {TF_NewStatus(), TF_DeleteStatus}; }

struct Attributes {
  int64_t size = 0, kernel = 0;
};

void* Create(TF_OpKernelConstruction* construction) {
  const Status status = NewStatus();
  auto* attributes = new Attributes;
  TF_OpKernelConstruction_GetAttrInt64(construction, "size", &attributes->size, status.get());
  TF_OpKernelConstruction_GetAttrInt64(construction, "kernel", &attributes->kernel, status.get());
  return attributes;
}

void Compute(void* attributes, TF_OpKernelContext* context) {
  const auto [size, kernel] = *static_cast<Attributes*>(attributes);
  const Status status = NewStatus();
  const auto input = [&](int number) -> Tensor {
    TF_Tensor* tensor = nullptr;
    TF_GetInput(context, number, &tensor, status.get());
    return {tensor, TF_DeleteTensor};
  };
  const Tensor image = input(0), mirrored = input(1), box = input(2);
  const bool right = TF_NumDims(image.get()) == 3 && TF_Dim(image.get(), 2) == 3 &&
                     TF_TensorElementCount(image.get()) && TF_NumDims(mirrored.get()) == 0 &&
                     TF_TensorElementCount(box.get()) == 4;
  if (!right) {
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT,
                 "needs an image [H, W, 3], a truth value and a window [4]");
    return TF_OpKernelContext_Failure(context, status.get());
  }
  Window window;
  std::memcpy(&window, TF_TensorData(box.get()), sizeof(window));
  if (window.top < 0 || window.left < 0 || window.top + size > window.height ||
      window.left + size > window.width) {
    TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, "the window is not inside the resized image");
    return TF_OpKernelContext_Failure(context, status.get());
  }
  const int64_t shape[] = {size, size, 3};
  const Tensor out = {
      TF_AllocateOutput(context, 0, TF_UINT8, shape, 3, 3 * size * size, status.get()),
      TF_DeleteTensor};
  if (TF_GetCode(status.get()) != TF_OK) return TF_OpKernelContext_Failure(context, status.get());
  Resize(static_cast<const uint8_t*>(TF_TensorData(image.get())), TF_Dim(image.get(), 0),
         TF_Dim(image.get(), 1), size, static_cast<int>(kernel),
         *static_cast<const bool*>(TF_TensorData(mirrored.get())), window,
         static_cast<uint8_t*>(TF_TensorData(out.get())));
}

void Delete(void* attributes) { delete static_cast<Attributes*>(attributes); }

// The Python caller sets the result's shape.
void Shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

bool Register() {
  const Status status = NewStatus();
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder(kResize);
  for (const char* input : {"image: uint8", "mirrored: bool", "window: int32"}) {
    TF_OpDefinitionBuilderAddInput(definition, input);
  }
  for (const char* attribute : {"size: int >= 1", "kernel: int"}) {
    TF_OpDefinitionBuilderAddAttr(definition, attribute);
  }
  TF_OpDefinitionBuilderAddOutput(definition, "resized: uint8");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, Shape);
  TF_RegisterOpDefinition(definition, status.get());
  TF_KernelBuilder* kernel = TF_NewKernelBuilder(kResize, "CPU", Create, Compute, Delete);
  TF_RegisterKernelBuilder(kResize, kernel, status.get());
  return true;
}

const bool registered = Register();

}  // namespace ecanet
