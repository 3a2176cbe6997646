// Photos, models and bundles; `bundle/manifest.json` says all that varies.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "litert_c.h"

struct Image {
    int width = 0, height = 0;
    std::vector<uint8_t> rgb;  // height x width x 3
};
bool is_deep(const std::string& file);  // whether it is a PNG of 16 bits
Image decode(const std::string& file);  // upright RGB of a JPEG or PNG; throws std::runtime_error
Image resize(const Image& image, int width, int height);  // to the byte as Pillow's BILINEAR, antialiased

template <class Handle, auto destroy>
struct Destroyer { void operator()(Handle one) const { destroy(one); } };
template <class Handle, auto destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<Handle, destroy>>;

class Model {  // throws std::runtime_error for a file that does not load
public:
    Model(std::string file, const std::string& kernels, int threads, int height, int width, size_t classes);
    std::vector<float> run(const uint8_t* pixels);  // probabilities for prepared pixels

private:
    std::string file_;  // LiteRT reads it as long as it lives
    Owned<LiteRtEnvironment, LiteRtDestroyEnvironment> environment_;
    Owned<LiteRtModel, LiteRtDestroyModel> model_;
    Owned<LiteRtCompiledModel, LiteRtDestroyCompiledModel> compiled_;
    Owned<LiteRtTensorBuffer, LiteRtDestroyTensorBuffer> input_, output_;
    LiteRtQuantizationPerTensor scale_{1, 0};
    size_t pixels_, classes_;
    bool quantized_ = false;
};

struct Damaged : std::runtime_error { using std::runtime_error::runtime_error; };
struct Choice { std::string variant, kernels = "xnnpack"; int threads = 1; };

struct Bundle {
    explicit Bundle(std::filesystem::path folder);
    std::string read(const std::string& name) const;
    Image prepare(const std::string& photo) const {
        if (ranged && is_deep(photo)) throw std::runtime_error("16-bit PNG, whose range only tledge predict knows");
        return resize(decode(photo), width, height);
    }
    Model open(const Choice& choice) const;  // without a variant the best there is
    int self_test(Choice choice) const;  // 0; 3 where predictions differ from Keras'; 4 where files are damaged

    std::filesystem::path folder;
    nlohmann::json manifest;
    std::vector<std::string> labels;
    int height = 0, width = 0;
    bool ranged = false;  // pixels deeper than 8 bits have a range of their own
};

std::string read_file(const std::filesystem::path& path);
