#include <cstdlib>
#include <cstring>

#include "classify.h"

namespace {

void check(LiteRtStatus status, const char* what) {
    if (status != 0)
        throw std::runtime_error(std::string("LiteRT cannot ") + what + " (status " + std::to_string(status) + ")");
}

// Kernels and threads travel to the CPU as a text in TOML, which LiteRT frees.
Owned<LiteRtOptions, LiteRtDestroyOptions> options(const std::string& kernels, int threads) {
    const std::string text = "kernel_mode = \"" + kernels + "\"\nnum_threads = " + std::to_string(threads) + "\n";
    LiteRtOptions made = nullptr;
    check(LiteRtCreateOptions(&made), "make options");
    Owned<LiteRtOptions, LiteRtDestroyOptions> owned(made);
    LiteRtOpaqueOptions cpu = nullptr;
    check(LiteRtCreateOpaqueOptions("xnnpack", strdup(text.c_str()), std::free, &cpu), "make CPU options");
    check(LiteRtAddOpaqueOptions(made, cpu), "take CPU options");
    check(LiteRtSetOptionsHardwareAccelerators(made, kLiteRtAccelerateByCpu), "choose the CPU");
    return owned;
}

}  // namespace

Model::Model(std::string file, const std::string& kernels, int threads, int height, int width, size_t classes)
    : file_(std::move(file)), pixels_(size_t(height) * size_t(width) * 3), classes_(classes) {
    // Only the CPU: looking for a GPU loads a library that some boards' processors cannot run.
    const LiteRtEnvOption settings[] = {
        {kLiteRtAutoRegisterAccelerators, {kLiteRtAnyInt, kLiteRtAccelerateByCpu}},
        {kLiteRtMinLoggerSeverity, {kLiteRtAnyInt, 3}},
    };
    LiteRtEnvironment environment = nullptr;
    check(LiteRtCreateEnvironment(2, settings, &environment), "start");
    environment_.reset(environment);
    LiteRtModel model = nullptr;
    check(LiteRtCreateModelFromBuffer(environment, file_.data(), file_.size(), &model), "read the file");
    model_.reset(model);

    LiteRtSignature signature = nullptr;
    LiteRtTensor input = nullptr, output = nullptr;
    LiteRtRankedTensorType in{}, out{};
    int kind = 0;
    check(LiteRtGetModelSignature(model, 0, &signature), "find the signature");
    check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &input), "find the input");
    check(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &output), "find the output");
    check(LiteRtGetRankedTensorType(input, &in), "tell the input's type");
    check(LiteRtGetRankedTensorType(output, &out), "tell the output's type");
    const int32_t* side = in.layout.dimensions;
    if (in.element_type != kLiteRtUInt8 || in.layout.rank != 4 || side[0] != 1 || side[1] != height ||
        side[2] != width || side[3] != 3)
        throw std::runtime_error("the model does not take the bytes of one image of the manifest's size");
    quantized_ = out.element_type == kLiteRtUInt8;
    if ((!quantized_ && out.element_type != kLiteRtFloat32) || out.layout.rank != 2 ||
        out.layout.dimensions[1] != int32_t(classes))
        throw std::runtime_error("the model does not answer with a probability for each label");
    check(LiteRtGetQuantizationTypeId(output, &kind), "tell the output's quantization");
    if (kind == kLiteRtPerTensor) check(LiteRtGetPerTensorQuantization(output, &scale_), "tell the output's scale");

    LiteRtCompiledModel compiled = nullptr;
    check(LiteRtCreateCompiledModel(environment, model, options(kernels, threads).get(), &compiled), "load the file");
    compiled_.reset(compiled);
    const auto buffer = [&](const LiteRtRankedTensorType& type, size_t size) {
        LiteRtTensorBuffer made = nullptr;
        check(LiteRtCreateManagedTensorBuffer(environment, kLiteRtHostMemory, &type, size, &made), "make a buffer");
        return made;
    };
    input_.reset(buffer(in, pixels_));
    output_.reset(buffer(out, classes_ * (quantized_ ? sizeof(uint8_t) : sizeof(float))));
}

std::vector<float> Model::run(const uint8_t* pixels) {
    void* memory = nullptr;
    check(LiteRtLockTensorBuffer(input_.get(), &memory, kLiteRtWrites), "take the pixels");
    std::memcpy(memory, pixels, pixels_);
    check(LiteRtUnlockTensorBuffer(input_.get()), "take the pixels");
    LiteRtTensorBuffer in = input_.get(), out = output_.get();
    check(LiteRtRunCompiledModel(compiled_.get(), 0, 1, &in, 1, &out), "run the model");
    check(LiteRtLockTensorBuffer(out, &memory, kLiteRtReads), "give the answer");
    std::vector<float> found(classes_);
    if (quantized_)
        for (size_t i = 0; i < classes_; ++i)
            found[i] = scale_.scale * float(static_cast<uint8_t*>(memory)[i] - scale_.zero_point);
    else
        std::memcpy(found.data(), memory, classes_ * sizeof(float));
    check(LiteRtUnlockTensorBuffer(out), "give the answer");
    return found;
}
