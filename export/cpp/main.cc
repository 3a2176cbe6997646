// Classifies photos with a bundle by LiteRT, and proves with --self-test that it does so as Keras did.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "classify.h"

using nlohmann::json;

namespace {

constexpr char kUsage[] =
    "usage: classify [--bundle DIR] [--variant NAME] [--kernels xnnpack|builtin|reference] [--threads N]\n"
    "                [--top K] [--json [--raw] | --prepare] PHOTO...\n"
    "       classify [--bundle DIR] [--variant NAME] [--kernels KERNELS] [--threads N] --self-test\n"
    "--prepare writes the pixels that the model sees, height x width x RGB bytes, to standard output.\n";

struct Arguments {
    std::string bundle = "bundle";
    Choice choice;
    int top = 3;
    bool json = false, raw = false, prepare = false, self_test = false;
    std::vector<std::string> photos;
};

int positive(const std::string& text) {
    const bool fits = !text.empty() && text.size() < 5 && text.find_first_not_of("0123456789") == std::string::npos;
    if (!fits || std::stoi(text) == 0) throw std::invalid_argument(text + ": expected a number from 1 on");
    return std::stoi(text);
}

Arguments parse(std::vector<std::string> words) {
    Arguments made;
    for (auto word = words.begin(); word != words.end(); ++word) {
        const auto value = [&, name = *word] {
            if (++word == words.end()) throw std::invalid_argument(name + " needs a value");
            return *word;
        };
        if (*word == "--bundle") made.bundle = value();
        else if (*word == "--variant") made.choice.variant = value();
        else if (*word == "--kernels") made.choice.kernels = value();
        else if (*word == "--threads") made.choice.threads = positive(value());
        else if (*word == "--top") made.top = positive(value());
        else if (*word == "--json") made.json = true;
        else if (*word == "--raw") made.raw = true;
        else if (*word == "--prepare") made.prepare = true;
        else if (*word == "--self-test") made.self_test = true;
        else if (word->rfind("--", 0) == 0) throw std::invalid_argument(*word + ": no such option");
        else made.photos.push_back(*word);
    }
    const auto& kernels = made.choice.kernels;
    if (kernels != "xnnpack" && kernels != "builtin" && kernels != "reference")
        throw std::invalid_argument("--kernels " + kernels + ": expected xnnpack, builtin or reference");
    if (made.photos.empty() != made.self_test) throw std::invalid_argument("name photos, or ask for --self-test");
    return made;
}

// Confidence p^(1/T), divided by the sum of these; where the largest is below the threshold, unsure.
json answer(const Bundle& bundle, const std::vector<float>& probabilities, int top, bool raw) {
    const auto& fitted = bundle.manifest.value("confidence", json());
    const double temperature = fitted.is_null() ? 1 : fitted.at("temperature").get<double>();
    std::vector<double> shares;
    for (const float one : probabilities)
        shares.push_back(std::pow(std::max(double(one), 1.17549435e-38), 1 / temperature));
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<size_t> order(shares.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return probabilities[a] > probabilities[b]; });
    json best = json::array();
    for (size_t i = 0; i < std::min(order.size(), size_t(top)); ++i) {
        const double share = fitted.is_null() ? double(probabilities[order[i]]) : shares[order[i]] / sum;
        best.push_back({{"label", bundle.labels[order[i]]}, {"confidence", share}, {"probability", share}});
        if (raw) best.back()["raw_probability"] = probabilities[order[i]];
    }
    const bool unsure = !fitted.is_null() && best[0]["confidence"] < fitted.at("threshold");
    return {{"predictions", best}, {"abstained", unsure}};
}

void print(const json& found) {
    std::printf("%s:%s", found["image"].get<std::string>().c_str(), found.value("abstained", false) ? " ?" : "");
    if (found.contains("error")) std::printf(" %s", found["error"].get<std::string>().c_str());
    for (const auto& one : found.value("predictions", json::array())) {
        const double share = one["confidence"].get<double>();  // never 100 % where it is less
        std::printf(" %s %.1f%% ", one["label"].get<std::string>().c_str(), share < 1 ? 100 * std::min(share, .999) : 100);
    }
    std::printf("%s\n", found.value("abstained", false) ? "(unsure)" : "");
}

int classify(const Bundle& bundle, const Arguments& asked) {
    if (bundle.manifest.value("confidence", json()).is_null())
        std::fprintf(stderr, "note: uncalibrated, confidences are the model's raw probabilities\n");
    Model model = bundle.open(asked.choice);
    json all = json::array();
    for (const auto& photo : asked.photos) {
        try {
            const Image image = bundle.prepare(read_file(photo));
            all.push_back(answer(bundle, model.run(image.rgb.data()), asked.top, asked.raw));
        } catch (const std::runtime_error& error) {
            all.push_back({{"predictions", json::array()}, {"abstained", false}, {"error", error.what()}});
        }
        all.back()["image"] = photo;
        if (!asked.json) print(all.back());
    }
    if (asked.json) std::printf("%s\n", all.dump(2).c_str());
    return std::any_of(all.begin(), all.end(), [](const json& one) { return one.contains("error"); });
}

int prepare(const Bundle& bundle, const Arguments& asked) {
    for (const auto& photo : asked.photos) {
        const Image image = bundle.prepare(read_file(photo));
        std::fwrite(image.rgb.data(), 1, image.rgb.size(), stdout);
    }
    return 0;
}

int run(const Arguments& asked) {
    try {
        const Bundle bundle(asked.bundle);
        if (asked.self_test) return bundle.self_test(asked.choice);
        return asked.prepare ? prepare(bundle, asked) : classify(bundle, asked);
    } catch (const Damaged& error) {
        std::fprintf(stderr, "classify: %s\n", error.what());
    } catch (const json::exception& error) {
        std::fprintf(stderr, "classify: the manifest is damaged (%s)\n", error.what());
    } catch (const std::out_of_range&) {
        std::fprintf(stderr, "classify: the manifest is damaged (a golden photo of a row that is not there)\n");
    }
    return 4;
}

}  // namespace

int main(int count, char** words) {
    try {
        const Arguments asked = parse({words + 1, words + count});
        const int code = run(asked);
        if (asked.self_test) std::printf("self-test %s\n", code == 0 ? "passed" : "FAILED");
        return code;
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "classify: %s\n%s", error.what(), kUsage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "classify: %s\n", error.what());
        return 1;
    }
}
