// Runs the bundled model in tflite-micro: the golden cases bit by bit, then what a camera gives.
//
// Nothing here knows a board. Define `camera_read` in a file of your own to classify pictures.

#include <cmath>
#include <cstdint>
#include <cstring>

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
    const float weight = std::pow(probability, 1 / kTemperature);
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

// 0: passed; 3: an answer differs; 4: the model does not start.
int main() {
  tflite::InitializeTarget();
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
