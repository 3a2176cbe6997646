package tledge.core;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** An array of the bundle, read row by row: NumPy's `.npy` of uint8 or float32. */
final class Npy {
    private static final Pattern HEADER =
            Pattern.compile("'descr': '(\\|u1|<f4)', 'fortran_order': False, 'shape': \\((\\d+), ([\\d, ]+)\\)");

    final int rows, row;
    private final ByteBuffer data;

    /** Throws IOException where the file is not of this kind or ends too soon. */
    Npy(byte[] file, String name) throws IOException {
        String start = new String(file, 0, Math.min(file.length, 1024), StandardCharsets.ISO_8859_1);
        Matcher header = HEADER.matcher(start);
        int end = start.indexOf('\n') + 1;
        if (!start.startsWith("\u0093NUMPY") || !header.find() || end == 0)
            throw new IOException(name + ": not an .npy of uint8 or float32");
        int size = header.group(1).equals("<f4") ? 4 : 1;
        for (String side : header.group(3).split("[, ]+")) size *= Integer.parseInt(side);
        rows = Integer.parseInt(header.group(2));
        row = size;
        if (file.length - end != (long) rows * row) throw new IOException(name + ": damaged, of another length");
        data = ByteBuffer.wrap(file, end, rows * row).slice().order(ByteOrder.LITTLE_ENDIAN);
    }

    /** One row as bytes, for uint8. */
    byte[] bytes(int index) {
        byte[] made = new byte[row];
        for (int one = 0; one < row; one++) made[one] = data.get(index * row + one);
        return made;
    }

    /** One row as numbers, for float32. */
    float[] floats(int index) {
        float[] made = new float[row / 4];
        for (int one = 0; one < made.length; one++) made[one] = data.getFloat(index * row + 4 * one);
        return made;
    }
}
