package tledge.core;

import java.io.IOException;

/** PNGs of 16 bits: decoders drop the lower 8, which leaves next to nothing of 12 bits in 16. */
public final class Depth {
    private Depth() {}

    /** Whether a photo's file is a PNG of 16 bits. */
    public static boolean isDeep(byte[] photo) {
        return photo.length > 24 && photo[0] == (byte) 0x89 && photo[1] == 'P' && photo[24] == 16;
    }

    /** Throws IOException where no value of the decoded RGBA bytes of a 16-bit PNG reaches a quarter. */
    public static void requireBright(byte[] photo, byte[] rgba) throws IOException {
        if (!isDeep(photo)) return;
        for (int at = 0; at < rgba.length; at++) if (at % 4 != 3 && (rgba[at] & 255) >= 64) return;
        throw new IOException("16-bit PNG whose upper bits are unused; save it with 8 bits");
    }

    /** Throws IOException where a 16-bit PNG has a range that only `tledge predict` knows. */
    public static void requireKnown(byte[] photo, Manifest manifest) throws IOException {
        if (manifest.ranged && isDeep(photo)) throw new IOException("16-bit PNG, whose range only tledge predict knows");
    }
}
