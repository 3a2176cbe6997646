#include "stub.h"

void tflite::InitializeTarget() {}
