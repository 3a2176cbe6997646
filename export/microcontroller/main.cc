// Runs the bundled model in tflite-micro: the golden cases bit by bit, then what a camera gives.
//
// Nothing here knows a board. Define `camera_read` in a file of your own to classify pictures.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "generated/checksums.h"
#include "generated/golden.h"
#include "generated/labels.h"
#include "generated/model_data.h"
#include "generated/operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

// Fills RGB bytes [kHeight][kWidth][3], the whole picture stretched to size; false where none is left.
// Shrink with averaging, not by dropping pixels: the model was trained on antialiased pictures.
extern "C" __attribute__((weak)) bool camera_read(std::uint8_t*) { return false; }

namespace {

constexpr std::size_t kImageBytes = std::size_t{kHeight} * kWidth * 3;

alignas(16) std::uint8_t arena[kArenaBytes];

struct Answer {
  int label;
  float confidence;  // 0 to 1
};

// The most probable class, and how sure the model is of it by the temperature fitted on photos.
Answer Best(const std::uint8_t* output) {
  int best = 0;
  float sum = 0, largest = 0;
  for (int label = 0; label < kClasses; ++label) {
    const float probability = kScale * static_cast<float>(output[label] - kZeroPoint);
    const float weight = std::pow(std::fmax(probability, 1.17549435e-38f), 1 / kTemperature);
    sum += weight;
    if (weight > largest) {
      largest = weight;
      best = label;
    }
  }
  return {best, sum > 0 ? largest / sum : 0};
}

void Print(const Answer& answer) {
  const char* remark = answer.confidence < kThreshold ? ", unsure" : "";
  const int percent = static_cast<int>(std::lround(100 * answer.confidence));
  MicroPrintf("%s %d %%%s", kLabels[answer.label], percent, remark);
}

// CRC-32 as zlib has it, going on from `crc`; start with 0.
std::uint32_t Crc32(std::uint32_t crc, const void* data, std::size_t bytes) {
  crc = ~crc;
  for (std::size_t at = 0; at < bytes; ++at) {
    crc ^= static_cast<const std::uint8_t*>(data)[at];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

// True where nothing of what `generated/` holds was changed.
bool IsWhole() {
  std::uint32_t labels = 0;
  for (const char* label : kLabels) labels = Crc32(labels, label, std::strlen(label) + 1);
  const struct { const char* what; bool same; } checks[] = {
      {"model", Crc32(0, kModel, sizeof kModel) == kModelCrc32},
      {"labels", labels == kLabelsCrc32},
      {"golden pixels", Crc32(0, kPixels, sizeof kPixels) == kPixelsCrc32},
      {"golden answers", Crc32(0, kAnswers, sizeof kAnswers) == kAnswersCrc32},
  };
  bool whole = true;
  for (const auto& check : checks) {
    if (!check.same) MicroPrintf("%s: changed since the bundle was made (CRC-32 differs)", check.what);
    whole = whole && check.same;
  }
  return whole;
}

// True where every golden case is answered with exactly the bytes that were proven at export.
bool SelfTest(tflite::MicroInterpreter& interpreter) {
  int wrong = 0;
  for (int number = 0; number < kCases; ++number) {
    std::memcpy(interpreter.input(0)->data.uint8, kPixels + number * kImageBytes, kImageBytes);
    if (interpreter.Invoke() != kTfLiteOk) return false;
    const std::uint8_t* output = interpreter.output(0)->data.uint8;
    const bool same = std::memcmp(output, kAnswers + number * kClasses, kClasses) == 0;
    MicroPrintf("golden case %d: %s", number, same ? "bit-exact" : "DIFFERS");
    Print(Best(output));
    wrong += !same;
  }
  return wrong == 0;
}

bool Fits(tflite::MicroInterpreter& interpreter) {
  const TfLiteTensor *input = interpreter.input(0), *output = interpreter.output(0);
  return input->type == kTfLiteUInt8 && input->bytes == kImageBytes && output->type == kTfLiteUInt8 &&
         output->bytes == kClasses;
}

}  // namespace

// 0: passed; 3: a prediction differs; 4: the model was changed, or does not start.
int main() {
  tflite::InitializeTarget();
  if (!IsWhole()) {
    MicroPrintf("self-test FAILED");
    return 4;
  }
  const tflite::Model* model = tflite::GetModel(kModel);
  OpResolver resolver;
  if (model->version() != TFLITE_SCHEMA_VERSION || RegisterOperators(resolver) != kTfLiteOk) {
    MicroPrintf("this tflite-micro does not take the model");
    return 4;
  }
  tflite::MicroInterpreter interpreter(model, resolver, arena, kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk || !Fits(interpreter)) {
    MicroPrintf("the model does not start in an arena of %u bytes; raise kArenaBytes",
                static_cast<unsigned>(kArenaBytes));
    return 4;
  }
  MicroPrintf("arena: %u of %u bytes used", static_cast<unsigned>(interpreter.arena_used_bytes()),
              static_cast<unsigned>(kArenaBytes));
  const bool passed = SelfTest(interpreter);
  MicroPrintf("self-test %s", passed ? "passed" : "FAILED");
  if (!passed) return 3;
  while (camera_read(interpreter.input(0)->data.uint8)) {
    if (interpreter.Invoke() != kTfLiteOk) return 4;
    Print(Best(interpreter.output(0)->data.uint8));
  }
  return 0;
}
