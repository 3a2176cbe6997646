#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "classify.h"

using nlohmann::json;

namespace {

struct Report {
    int code = 0;
    void line(bool good, int otherwise, const std::string& text) {
        std::printf("%s %s\n", good ? "ok  " : "FAIL", text.c_str());
        if (!good) code = std::max(code, otherwise);
    }
};

// The `count` numbers of an .npy file of numpy's type `type`.
template <class T>
std::vector<T> array(const Bundle& bundle, const std::string& name, const std::string& type, size_t count) {
    const std::string file = bundle.read(name);
    const size_t start = file.size() - std::min(file.size(), count * sizeof(T));
    const std::string head = file.substr(0, start);
    if (head.compare(0, 6, "\x93NUMPY") != 0 || head.back() != '\n' || head.find(type) == std::string::npos)
        throw Damaged(name + ": damaged, expected " + std::to_string(count) + " numbers of type " + type);
    std::vector<T> values(count);
    std::memcpy(values.data(), file.data() + start, count * sizeof(T));
    return values;
}

std::string sha256(const std::string& file) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const uint8_t*>(file.data()), file.size(), digest);
    std::string text;
    for (const int byte : digest) text += {"0123456789abcdef"[byte / 16], "0123456789abcdef"[byte % 16]};
    return text;
}

void check_files(const Bundle& bundle, Report& report) {
    std::istringstream lines(bundle.read("SHA256SUMS"));
    std::string sum, name;
    int count = 0, changed = 0;
    for (; lines >> sum && std::getline(lines >> std::ws, name); ++count) {
        if (sha256(bundle.read(name)) == sum) continue;
        report.line(false, 4, name + " was changed (SHA-256 differs)");
        ++changed;
    }
    report.line(count > 0 && changed == 0, 4, std::to_string(count) + " files, " + std::to_string(changed) + " changed");
}

Image golden(const Bundle& bundle, const std::string& photo) {
    const std::string file = bundle.read(photo);
    try {
        return bundle.prepare(file);
    } catch (const std::runtime_error& error) {
        throw Damaged(photo + ": " + error.what());
    }
}

void check_preparation(const Bundle& bundle, const std::vector<uint8_t>& pixels, size_t size, Report& report) {
    int worst = 0;
    for (const auto& one : bundle.manifest.at("golden")) {
        const std::string photo = one.at("photo"), encoding = one.at("encoding");
        const Image made = golden(bundle, "golden/" + photo);
        const uint8_t* wanted = &pixels.at(one.at("tensor").get<size_t>() * size);
        int step = 0;
        for (size_t i = 0; i < size; ++i) step = std::max(step, std::abs(made.rgb[i] - wanted[i]));
        worst = std::max(worst, step);
        if (step > 1) report.line(false, 3, photo + " is off by " + std::to_string(step) + " levels; " + encoding);
    }
    report.line(worst <= 1, 3, "photos are prepared within " + std::to_string(worst) + " grey levels, 1 allowed");
}

void check_answers(const Bundle& bundle, const json& artifact, const Choice& choice,
                   const std::vector<uint8_t>& pixels, size_t size, Report& report) {
    const auto& cases = bundle.manifest.at("golden");
    const size_t classes = bundle.labels.size();
    const std::string name = choice.variant + " with " + choice.kernels;
    json expected;
    for (const auto& one : artifact.at("expected"))
        if (one.at("kernels") == choice.kernels) expected = one;
    std::string why;
    for (const auto& one : artifact.value("unsupported", json::array()))
        if (one.at("kernels") == choice.kernels) why = ": " + one.at("reason").get<std::string>();
    if (expected.is_null()) return report.line(false, 4, name + ": the bundle holds no answers to compare with" + why);
    const double tolerance = expected.at("tolerance");
    const auto answers = array<float>(bundle, expected.at("path"), "<f4", cases.size() * classes);
    Model model = bundle.open(choice);
    double worst = 0;
    size_t alike = 0, alike_at_export = 0;
    for (const auto& one : cases) {
        const size_t row = one.at("tensor");
        const auto found = model.run(&pixels.at(row * size));
        const float* wanted = &answers.at(row * classes);
        for (size_t i = 0; i < classes; ++i) {
            const double step = std::abs(double(found[i]) - double(wanted[i]));
            worst = std::isnan(step) ? INFINITY : std::max(worst, step);
        }
        alike += bundle.labels[size_t(std::max_element(found.begin(), found.end()) - found.begin())] == one.at("keras");
        alike_at_export += bundle.labels[size_t(std::max_element(wanted, wanted + classes) - wanted)] == one.at("keras");
    }
    char text[160];
    std::snprintf(text, sizeof text, ": probabilities within %.2g, %.2g allowed; top-1 as Keras' for %zu of %zu photos, "
                  "%zu at export", worst, tolerance, alike, cases.size(), alike_at_export);
    report.line(worst <= tolerance, 3, name + text);
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error(path.string() + ": no such file, or not readable");
    return {std::istreambuf_iterator<char>(stream), {}};
}

Bundle::Bundle(std::filesystem::path where) : folder(std::move(where)), manifest(json::parse(read("manifest.json"))) {
    const int version = manifest.at("manifest_version");
    if (version != 1)
        throw Damaged("manifest version " + std::to_string(version) + ", this program reads 1: take one as new as "
                      "the tledge that made the bundle");
    manifest.at("labels").get_to(labels);
    manifest.at("input").at("height").get_to(height);
    manifest.at("input").at("width").get_to(width);
    ranged = manifest.at("input").contains("pixel_range");
}

std::string Bundle::read(const std::string& name) const {
    if (!std::filesystem::is_regular_file(folder / name))
        throw Damaged((folder / name).string() + ": missing; is --bundle the folder of a bundle?");
    return read_file(folder / name);
}

Model Bundle::open(const Choice& choice) const {
    const std::vector<std::string> preferred{"tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic"};
    for (const auto& wanted : choice.variant.empty() ? preferred : std::vector{choice.variant})
        for (const auto& one : manifest.at("artifacts")) {
            if (one.at("variant") != wanted) continue;
            const std::string name = one.at("path");
            std::string file = read(name);
            if (file.size() != one.at("bytes") || file.size() < 64 || file.compare(4, 4, "TFL3") != 0)
                throw Damaged(name + ": damaged, or no .tflite; it has " + std::to_string(file.size()) +
                              " bytes, the manifest says " + one.at("bytes").dump());
            return {std::move(file), choice.kernels, choice.threads, height, width, labels.size()};
        }
    throw std::invalid_argument("the bundle has no artifact " + (choice.variant.empty() ? "for LiteRT" : choice.variant));
}

int Bundle::self_test(Choice choice) const {
    Report report;
    check_files(*this, report);
    std::string listed;
    for (const auto& label : labels) listed += label + "\n";
    report.line(read("labels.txt") == listed, 4, "labels.txt names the manifest's labels");
    const size_t size = size_t(height) * size_t(width) * 3, cases = manifest.at("golden").size();
    if (cases == 0) throw Damaged("the bundle holds no golden photos");
    const auto pixels = array<uint8_t>(*this, "golden/pixels.npy", "|u1", cases * size);
    check_preparation(*this, pixels, size, report);
    const std::string only = choice.variant;
    int checked = 0;
    for (const auto& one : manifest.at("artifacts")) {
        choice.variant = one.at("variant");
        const std::string path = one.at("path");
        const bool runs = path.size() > 7 && path.compare(path.size() - 7, 7, ".tflite") == 0;
        if (!runs || (!only.empty() && choice.variant != only)) continue;
        check_answers(*this, one, choice, pixels, size, report);
        ++checked;
    }
    if (checked == 0) throw std::invalid_argument("the bundle has no artifact " + (only.empty() ? "for LiteRT" : only));
    return report.code;
}
