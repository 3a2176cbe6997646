#include <cstdio>
// libjpeg's header needs the one above.
#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>

#include "classify.h"

namespace {

constexpr int64_t kMaxPixels = 100'000'000;

const uint8_t* bytes(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

Image blank(int64_t width, int64_t height) {
    if (width * height > kMaxPixels) throw std::runtime_error("too large; at most 100 million pixels are read");
    return {int(width), int(height), std::vector<uint8_t>(size_t(width * height * 3))};
}

int div255(int value) { return ((value >> 8) + value) >> 8; }  // Pillow's

// EXIF's orientation 1..8 in a TIFF block; 1 where there is none.
int orientation(const uint8_t* tiff, size_t size) {
    const bool big = size > 1 && tiff[0] == 'M';
    const auto number = [&](size_t at, size_t count) {
        uint32_t value = 0;
        for (size_t i = 0; i < count; ++i)
            if (at + i < size) value |= uint32_t{tiff[at + i]} << 8 * (big ? count - 1 - i : i);
        return value;
    };
    const size_t table = number(4, 4), count = number(table, 2);
    for (size_t entry = table + 2; entry < table + 2 + 12 * count && entry + 12 <= size; entry += 12)
        if (number(entry, 2) == 0x0112) {
            const uint32_t value = number(entry + 8, number(entry + 2, 2) == 3 ? 2 : 4);
            return value >= 1 && value <= 8 ? int(value) : 1;
        }
    return 1;
}

Image turned(Image from, int orientation) {
    if (orientation == 1) return from;
    const bool swaps = orientation >= 5;
    const bool mirrors = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool flips = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    Image to = swaps ? blank(from.height, from.width) : blank(from.width, from.height);
    for (int y = 0; y < to.height; ++y)
        for (int x = 0; x < to.width; ++x) {
            const int column = swaps ? y : x, row = swaps ? x : y;
            const size_t source = size_t(flips ? from.height - 1 - row : row) * size_t(from.width) +
                                  size_t(mirrors ? from.width - 1 - column : column);
            std::copy_n(&from.rgb[source * 3], 3, &to.rgb[(size_t(y) * size_t(to.width) + size_t(x)) * 3]);
        }
    return to;
}

// libjpeg reports errors by a jump, which must not skip destructors: all that is destroyed is owned in here.
struct Jpeg {
    jpeg_decompress_struct info{};
    jpeg_error_mgr errors{};
    std::jmp_buf back;
    char message[JMSG_LENGTH_MAX] = "";
    std::vector<uint8_t> row;
    Image image;
    int orientation = 1;
    ~Jpeg() { jpeg_destroy_decompress(&info); }
};

void fail(j_common_ptr info) {
    auto& jpeg = *static_cast<Jpeg*>(info->client_data);
    info->err->format_message(info, jpeg.message);
    std::longjmp(jpeg.back, 1);
}

void warn(j_common_ptr info, int level) {  // odd metadata is no reason to refuse; a picture that ends early is
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) fail(info);
}

bool read_jpeg(Jpeg& jpeg, const std::string& file) {
    auto& info = jpeg.info;
    if (setjmp(jpeg.back)) return false;
    jpeg_create_decompress(&info);
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(&info, bytes(file), static_cast<unsigned long>(file.size()));
    jpeg_read_header(&info, TRUE);
    for (auto* one = info.marker_list; one != nullptr && jpeg.orientation == 1; one = one->next)
        if (one->data_length > 6 && std::memcmp(one->data, "Exif\0\0", 6) == 0)
            jpeg.orientation = orientation(one->data + 6, one->data_length - 6);
    const bool cmyk = info.num_components == 4;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg.image = blank(info.image_width, info.image_height);
    jpeg.row.resize(size_t(info.image_width) * 4);
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
        uint8_t* to = &jpeg.image.rgb[size_t(info.output_scanline) * info.image_width * 3];
        uint8_t* row = cmyk ? jpeg.row.data() : to;
        jpeg_read_scanlines(&info, &row, 1);
        for (size_t i = 0; cmyk && i < size_t(info.image_width) * 3; ++i) {  // Adobe's, stored inverted
            const int black = row[i / 3 * 4 + 3], ink = 255 - row[i / 3 * 4 + i % 3];
            to[i] = uint8_t(std::max(0, black - div255(ink * black + 128)));
        }
    }
    jpeg_finish_decompress(&info);
    return true;
}

Image decode_jpeg(const std::string& file) {
    Jpeg jpeg;
    jpeg.info.err = jpeg_std_error(&jpeg.errors);
    jpeg.info.client_data = &jpeg;
    jpeg.errors.error_exit = fail;
    jpeg.errors.emit_message = warn;
    if (!read_jpeg(jpeg, file)) throw std::runtime_error("damaged JPEG (" + std::string(jpeg.message) + ")");
    return turned(std::move(jpeg.image), jpeg.orientation);
}

// libpng's simple reader does not hand out EXIF, which is a chunk of its own: length, name, data, checksum.
int png_orientation(const std::string& file) {
    for (size_t at = 8; at + 12 <= file.size();) {
        const uint8_t* chunk = bytes(file) + at;
        const size_t size = png_get_uint_32(chunk), rest = file.size() - at - 12;
        if (file.compare(at + 4, 4, "eXIf") == 0) return orientation(chunk + 8, std::min(size, rest));
        at += 12 + std::min(size, rest);
    }
    return 1;
}

// 16 bits become 8 by dropping the lower ones; of 12 bits in 16, next to nothing would be left.
void require_bright(const std::vector<uint8_t>& rgba) {
    uint8_t most = 0;
    for (size_t i = 0; i < rgba.size(); ++i)
        if (i % 4 != 3) most = std::max(most, rgba[i]);
    if (most < 64) throw std::runtime_error("16-bit PNG whose upper bits are unused; save it with 8 bits");
}

Image decode_png(const std::string& file) {
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    const std::unique_ptr<png_image, void (*)(png_image*)> freed(&png, png_image_free);
    bool good = png_image_begin_read_from_memory(&png, file.data(), file.size());
    Image image = good ? blank(png.width, png.height) : Image{};
    std::vector<uint8_t> rgba(image.rgb.size() / 3 * 4);
    png.format = PNG_FORMAT_RGBA;
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    good = good && png_image_finish_read(&png, nullptr, rgba.data(), 0, nullptr);
    if (!good) throw std::runtime_error("damaged PNG (" + std::string(png.message) + ")");
    if (is_deep(file)) require_bright(rgba);
    for (size_t i = 0; i < image.rgb.size(); ++i) {  // laid on white, as Pillow rounds
        const int alpha = rgba[i / 3 * 4 + 3], color = rgba[i / 3 * 4 + i % 3];
        image.rgb[i] = uint8_t(div255((color * alpha + 255 * (255 - alpha) + 128) << 7) >> 7);
    }
    return turned(std::move(image), png_orientation(file));
}

// How one output pixel is made of the input's: the first one's place, and weights in 1 / 2^22.
struct Taps {
    int first;
    std::vector<int> weights;
};

std::vector<Taps> taps(int from, int to) {
    const double scale = double(from) / to, support = std::max(scale, 1.0);
    std::vector<Taps> made;
    for (int i = 0; i < to; ++i) {
        const double center = (i + 0.5) * scale;
        const int first = std::max(0, int(center - support + 0.5));
        const int last = std::min(from, int(center + support + 0.5));
        std::vector<double> shares;
        double sum = 0;
        for (int x = first; x < last; ++x) {
            shares.push_back(std::max(0.0, 1 - std::abs((x - center + 0.5) * (1 / support))));
            sum += shares.back();
        }
        Taps one{first, {}};
        for (const double share : shares) one.weights.push_back(int(0.5 + share / sum * (1 << 22)));
        made.push_back(std::move(one));
    }
    return made;
}

// Rows resized to `width`, and the result transposed: done twice, it stands upright again.
Image resize_rows_and_transpose(const Image& from, int width) {
    Image to = blank(from.height, width);
    const auto all = taps(from.width, width);
    for (size_t x = 0; x < all.size(); ++x)
        for (size_t y = 0; y < size_t(from.height); ++y)
            for (size_t channel = 0; channel < 3; ++channel) {
                const uint8_t* in = &from.rgb[(y * size_t(from.width) + size_t(all[x].first)) * 3 + channel];
                int sum = 1 << 21;
                for (const int weight : all[x].weights) sum += weight * *in, in += 3;
                to.rgb[(x * size_t(from.height) + y) * 3 + channel] = uint8_t(std::clamp(sum >> 22, 0, 255));
            }
    return to;
}

}  // namespace

bool is_deep(const std::string& file) {
    return file.compare(0, 4, "\x89PNG") == 0 && file.size() > 24 && file[24] == 16;
}

Image decode(const std::string& file) {
    if (file.compare(0, 3, "\xFF\xD8\xFF") == 0) return decode_jpeg(file);
    if (file.compare(0, 4, "\x89PNG") == 0) return decode_png(file);
    throw std::runtime_error(file.empty() ? "empty, expected a photo" : "neither a JPEG nor a PNG photo");
}

Image resize(const Image& image, int width, int height) {
    return resize_rows_and_transpose(resize_rows_and_transpose(image, width), height);
}
