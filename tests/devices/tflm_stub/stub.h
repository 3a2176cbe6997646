// Stand-ins for the few declarations of tflite-micro that the microcontroller project uses.
//
// Not tflite-micro: it computes nothing. An interpreter gives the answers that stand in the file STUB_ANSWERS,
// one after the other, writes the inputs it got to STUB_INPUTS, and wants an arena of STUB_ARENA bytes.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteUInt8 = 3, kTfLiteInt8 = 9 };
struct TfLiteTensor {
  TfLiteType type;
  struct { std::uint8_t* uint8; } data;
  std::size_t bytes;
};

constexpr std::uint32_t TFLITE_SCHEMA_VERSION = 3;

inline void MicroPrintf(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::puts("");
}

namespace tflite {

struct Model {
  std::uint32_t version() const { return TFLITE_SCHEMA_VERSION; }
};
inline const Model* GetModel(const void* data) {
  const bool whole = std::memcmp(static_cast<const char*>(data) + 4, "TFL3", 4) == 0;
  return whole && reinterpret_cast<std::uintptr_t>(data) % 16 == 0 ? static_cast<const Model*>(data) : nullptr;
}
void InitializeTarget();

template <unsigned int tOpCount>
class MicroMutableOpResolver {
 public:
  TfLiteStatus AddConv2D() { return Add(); }
  TfLiteStatus AddDepthwiseConv2D() { return Add(); }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddMean() { return Add(); }
  TfLiteStatus AddQuantize() { return Add(); }
  TfLiteStatus AddSoftmax() { return Add(); }
  unsigned int count = 0;

 private:
  TfLiteStatus Add() { return ++count > tOpCount ? kTfLiteError : kTfLiteOk; }
};

class MicroInterpreter {
 public:
  template <unsigned int tOpCount>
  MicroInterpreter(const Model*, const MicroMutableOpResolver<tOpCount>& resolver, std::uint8_t* arena,
                   std::size_t bytes)
      : fits_(resolver.count == tOpCount && reinterpret_cast<std::uintptr_t>(arena) % 16 == 0 &&
              bytes >= std::strtoul(std::getenv("STUB_ARENA"), nullptr, 10)),
        answers_(std::fopen(std::getenv("STUB_ANSWERS"), "rb")),
        inputs_(std::fopen(std::getenv("STUB_INPUTS"), "wb")) {}
  ~MicroInterpreter() {
    std::fclose(answers_);
    std::fclose(inputs_);
  }
  TfLiteStatus AllocateTensors() { return fits_ ? kTfLiteOk : kTfLiteError; }
  TfLiteTensor* input(std::size_t) { return &input_; }
  TfLiteTensor* output(std::size_t) { return &output_; }
  std::size_t arena_used_bytes() const { return 16; }
  TfLiteStatus Invoke() {
    std::fwrite(pixels_, 1, sizeof(pixels_), inputs_);
    return std::fread(answer_, 1, sizeof(answer_), answers_) == sizeof(answer_) ? kTfLiteOk : kTfLiteError;
  }

 private:
  std::uint8_t pixels_[8 * 8 * 3] = {}, answer_[4] = {};
  TfLiteTensor input_ = {kTfLiteUInt8, {pixels_}, sizeof(pixels_)};
  TfLiteTensor output_ = {kTfLiteUInt8, {answer_}, sizeof(answer_)};
  bool fits_;
  std::FILE *answers_, *inputs_;
};

}  // namespace tflite
