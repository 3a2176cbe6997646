package tledge.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How the camera was held, from EXIF in a JPEG, PNG or WebP file. */
public final class Exif {
    /** What stands before the tags: a JPEG's segment, a PNG's chunk, or a WebP's with its length. */
    private static final Pattern START =
            Pattern.compile("(?:Exif\0\0|eXIf|EXIF.{4})(?=II\\*\0|MM\0\\*)", Pattern.DOTALL);

    private Exif() {}

    /** EXIF's orientation 1..8; 1 where there is none or it cannot be read. */
    public static int orientation(byte[] file) {
        Matcher start = START.matcher(new String(file, StandardCharsets.ISO_8859_1));
        try {
            return start.find() ? inTags(ByteBuffer.wrap(file, start.end(), file.length - start.end()).slice()) : 1;
        } catch (RuntimeException damaged) {
            return 1;
        }
    }

    private static int inTags(ByteBuffer tags) {
        tags.order(tags.get(0) == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
        int first = tags.getInt(4);
        for (int entry = 0; entry < tags.getShort(first); entry++) {
            int at = first + 2 + 12 * entry, value = tags.getShort(at + 8);
            if (tags.getShort(at) == 0x0112) return value >= 1 && value <= 8 ? value : 1;
        }
        return 1;
    }
}
