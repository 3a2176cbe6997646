package tledge.core;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** `manifest.json`: all that varies between two bundles. */
public final class Manifest {
    /** The newest manifest that this program understands. */
    public static final int VERSION = 1;

    private static final List<String> PREFERRED =
            Arrays.asList("tflite-int8", "tflite-fp32", "tflite-fp16", "tflite-dynamic");

    public final String name;
    public final List<String> labels = new ArrayList<>();
    public final int height, width;
    /** Whether pixels deeper than 8 bits have a range of their own. */
    public final boolean ranged;
    public final double temperature, threshold;
    final List<Artifact> artifacts = new ArrayList<>();
    final List<Golden> golden = new ArrayList<>();

    /** A `.tflite` file, and where its answers with XNNPACK lie: the kernels that LiteRT takes by default. */
    public static final class Artifact {
        public final String variant, path, sha256;
        String answers;
        double tolerance;

        Artifact(Map<?, ?> raw) {
            variant = text(raw, "variant");
            path = text(raw, "path");
            sha256 = text(raw, "sha256");
            for (Object one : (List<?>) raw.get("expected")) {
                if (!"xnnpack".equals(((Map<?, ?>) one).get("kernels"))) continue;
                answers = text((Map<?, ?>) one, "path");
                tolerance = number((Map<?, ?>) one, "tolerance");
            }
        }
    }

    /** A golden photo: its file, its class by Keras, and its row in every array. */
    static final class Golden {
        final String photo, keras, encoding;
        final int row;

        Golden(Map<?, ?> raw) {
            photo = text(raw, "photo");
            keras = text(raw, "keras");
            encoding = text(raw, "encoding");
            row = (int) number(raw, "tensor");
        }
    }

    private Manifest(Map<?, ?> raw) {
        name = text(raw, "name") + " " + text(raw, "version");
        for (Object one : (List<?>) raw.get("labels")) labels.add((String) one);
        Map<?, ?> input = (Map<?, ?>) raw.get("input");
        height = (int) number(input, "height");
        width = (int) number(input, "width");
        ranged = input.containsKey("pixel_range");
        Map<?, ?> confidence = (Map<?, ?>) raw.get("confidence");
        temperature = confidence == null ? 1 : number(confidence, "temperature");
        threshold = confidence == null ? 0 : number(confidence, "threshold");
        for (Object one : (List<?>) raw.get("artifacts"))
            if (text((Map<?, ?>) one, "path").endsWith(".tflite")) artifacts.add(new Artifact((Map<?, ?>) one));
        for (Object one : (List<?>) raw.get("golden")) golden.add(new Golden((Map<?, ?>) one));
    }

    /** Throws IOException where the manifest is damaged or written by a later tledge. */
    public static Manifest parse(byte[] json) throws IOException {
        try {
            Map<?, ?> raw = (Map<?, ?>) Json.parse(new String(json, StandardCharsets.UTF_8));
            if (number(raw, "manifest_version") > VERSION)
                throw new IOException("manifest version " + raw.get("manifest_version") + ", this program reads "
                        + VERSION + ". Put the bundle into a newer project.");
            return new Manifest(raw);
        } catch (RuntimeException wrong) {
            throw new IOException("manifest.json is damaged or incomplete: " + wrong, wrong);
        }
    }

    /** The artifact to run: int8 first. Throws IOException where the bundle has no `.tflite` file. */
    public Artifact best() throws IOException {
        for (String variant : PREFERRED)
            for (Artifact one : artifacts) if (one.variant.equals(variant)) return one;
        if (artifacts.isEmpty()) throw new IOException("the bundle has no .tflite file: tledge export makes one");
        return artifacts.get(0);
    }

    private static String text(Map<?, ?> raw, String key) {
        if (raw.get(key) == null) throw new IllegalArgumentException("no " + key);
        return (String) raw.get(key);
    }

    private static double number(Map<?, ?> raw, String key) {
        return (Double) raw.get(key);
    }
}
