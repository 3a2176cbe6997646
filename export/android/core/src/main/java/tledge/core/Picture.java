package tledge.core;

/**
 * A decoded photo, upright and on white, without a turned copy of it: the byte of red of the upright
 * pixel (x, y) is rgba[origin + x * right + y * down].
 */
public final class Picture {
    private static final int BITS = 22; // of a weight behind the point, as in Pillow's Resample.c

    private final byte[] rgba;
    private final int width, height, origin, right, down;

    /**
     * Takes over `rgba`: RGBA bytes, not multiplied by alpha, `rows` rows of `columns` pixels, each
     * row `stride` bytes. `orientation` is EXIF's 1..8.
     */
    public Picture(byte[] rgba, int columns, int rows, int stride, int orientation) {
        boolean mirrored = "2378".indexOf('0' + orientation) >= 0, sideways = orientation >= 5;
        boolean upsideDown = "3467".indexOf('0' + orientation) >= 0;
        int nextColumn = mirrored ? -4 : 4, nextRow = upsideDown ? -stride : stride;
        this.rgba = rgba;
        width = sideways ? rows : columns;
        height = sideways ? columns : rows;
        origin = (mirrored ? 4 * (columns - 1) : 0) + (upsideDown ? stride * (rows - 1) : 0);
        right = sideways ? nextRow : nextColumn;
        down = sideways ? nextColumn : nextRow;
        layOnWhite(rgba);
    }

    /** Pillow's alpha_composite on white, with its rounding. */
    private static void layOnWhite(byte[] rgba) {
        for (int at = 0; at + 3 < rgba.length; at += 4) {
            int alpha = rgba[at + 3] & 255;
            for (int one = at; alpha < 255 && one < at + 3; one++) {
                int mixed = ((rgba[one] & 255) * alpha + 255 * (255 - alpha) << 7) + (128 << 7);
                rgba[one] = (byte) ((mixed >> 8) + mixed >> 15);
            }
        }
    }

    /**
     * What a model takes: RGB bytes [height][width][3], stretched to size as Pillow's BILINEAR does, which
     * antialiases when it shrinks.
     */
    public byte[] prepare(int height, int width) {
        byte[] narrow = new byte[this.height * width * 3], made = new byte[height * width * 3];
        int line = 3 * width;
        stretch(rgba, origin, right, this.width, down, this.height, narrow, 3, width, line);
        stretch(narrow, 0, line, this.height, 3, width, made, line, height, 3);
        return made;
    }

    /**
     * Stretches `lines` lines from `length` to `wanted` pixels; `step` and `lineStep` lead to the next
     * pixel and the next line in `from`, `toStep` and `toLineStep` in `to`.
     */
    private static void stretch(byte[] from, int origin, int step, int length, int lineStep, int lines,
            byte[] to, int toStep, int wanted, int toLineStep) {
        for (int out = 0; out < wanted; out++) {
            double scale = (double) length / wanted, support = Math.max(scale, 1), center = (out + 0.5) * scale;
            int first = Math.max((int) (center - support + 0.5), 0);
            int[] weights = weights(first, Math.min((int) (center + support + 0.5), length), center, support);
            for (int line = 0; line < lines; line++)
                for (int color = 0; color < 3; color++) {
                    int sum = 1 << BITS - 1, at = origin + line * lineStep + first * step + color;
                    for (int one = 0; one < weights.length; one++, at += step) sum += weights[one] * (from[at] & 255);
                    to[line * toLineStep + out * toStep + color] = (byte) Math.min(sum >> BITS, 255);
                }
        }
    }

    /** A triangle over pixels first..last-1, `support` to each side of `center`; they sum to one. */
    private static int[] weights(int first, int last, double center, double support) {
        double[] shares = new double[last - first];
        double sum = 0;
        for (int one = 0; one < shares.length; one++)
            sum += shares[one] = Math.max(0, 1 - Math.abs((one + first - center + 0.5) * (1 / support)));
        int[] made = new int[shares.length];
        for (int one = 0; one < made.length; one++) made[one] = (int) (shares[one] / sum * (1 << BITS) + 0.5);
        return made;
    }
}
