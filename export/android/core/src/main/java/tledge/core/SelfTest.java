package tledge.core;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.function.Consumer;

/** Holds a bundle's golden photos and answers to what this program makes of them, one line a check. */
public final class SelfTest {
    public static final int PASSED = 0, DIFFERS = 3, DAMAGED = 4;

    /** A probability by which Keras is so sure against an answer that 8 bits do not explain it. */
    private static final float SURE = 0.5f;

    /** The files of a bundle by their path in it. */
    public interface Files {
        byte[] read(String path) throws IOException;
    }

    /** What decodes photos on this machine. */
    public interface Decoder {
        Picture decode(byte[] photo) throws IOException;
    }

    /** What runs models on this machine: probabilities of RGB bytes [height][width][3]. */
    public interface Model {
        float[] run(byte[] pixels);
    }

    private final Files files;
    private final Manifest manifest;
    private final Consumer<String> say;
    private final Npy pixels, keras;
    private boolean failed;

    private SelfTest(Files files, Manifest manifest, Consumer<String> say) throws IOException {
        this.files = files;
        this.manifest = manifest;
        this.say = say;
        pixels = array("golden/pixels.npy", 3 * manifest.height * manifest.width);
        keras = array("golden/keras.npy", 4 * manifest.labels.size());
    }

    /**
     * Checks a bundle; `model` runs `Manifest.best()`, null where no runtime is at hand. A prepared
     * photo may differ by `levels` grey levels. Gives the process' exit status.
     */
    public static int run(Files files, Decoder decoder, Model model, int levels, Consumer<String> say) {
        try {
            SelfTest test = new SelfTest(files, Manifest.parse(files.read("manifest.json")), say);
            test.checkFiles();
            test.checkPreparation(decoder, levels);
            test.checkKeras();
            for (Manifest.Artifact one : test.manifest.artifacts) test.checkRecorded(one);
            test.checkModel(model);
            say.accept(test.failed ? "self-test FAILED" : "self-test passed");
            return test.failed ? DIFFERS : PASSED;
        } catch (IOException | RuntimeException | GeneralSecurityException damage) {
            say.accept("damaged: " + damage.getMessage());
            say.accept("self-test FAILED");
            return DAMAGED;
        }
    }

    private void checkFiles() throws IOException, GeneralSecurityException {
        String labels = new String(files.read("labels.txt"), StandardCharsets.UTF_8);
        if (!labels.equals(String.join("\n", manifest.labels) + "\n"))
            throw new IOException("labels.txt and manifest.json name other labels");
        for (Manifest.Artifact one : manifest.artifacts) checkSum(one.path, one.sha256);
        String[] sums = new String(files.read("SHA256SUMS"), StandardCharsets.UTF_8).split("\n");
        for (String line : sums) {
            String path = line.substring(66);
            if (path.startsWith("golden/") || !path.contains("/")) checkSum(path, line.substring(0, 64));
        }
        say.accept("ok: " + manifest.name + ", " + manifest.labels.size() + " labels, "
                + manifest.artifacts.size() + " models; files have their SHA-256");
    }

    private void checkSum(String path, String sha256) throws IOException, GeneralSecurityException {
        StringBuilder found = new StringBuilder();
        for (byte part : MessageDigest.getInstance("SHA-256").digest(files.read(path)))
            found.append(String.format("%02x", part));
        if (!sha256.contentEquals(found)) throw new IOException(path + " was changed (SHA-256 differs)");
    }

    private void checkPreparation(Decoder decoder, int levels) throws IOException {
        for (Manifest.Golden one : manifest.golden) {
            byte[] photo = files.read("golden/" + one.photo), wanted = pixels.bytes(one.row);
            byte[] found = decoder.decode(photo).prepare(manifest.height, manifest.width);
            int worst = 0;
            for (int at = 0; at < found.length; at++)
                worst = Math.max(worst, Math.abs((found[at] & 255) - (wanted[at] & 255)));
            String what = one.photo + (one.encoding.isEmpty() ? "" : ", " + one.encoding);
            check(worst <= levels, what + ": prepared within " + worst + " grey levels");
        }
    }

    private void checkKeras() {
        int same = 0, sure = 0;
        for (Manifest.Golden one : manifest.golden) {
            float[] answer = keras.floats(one.row);
            int best = Answers.top(answer, 1)[0];
            if (manifest.labels.get(best).equals(one.keras)) same++;
            if (Answers.confidence(answer, manifest.temperature)[best] >= manifest.threshold) sure++;
        }
        int all = manifest.golden.size();
        check(same == all && all > 0, same + " of " + all + " classes by Keras, sure of " + sure);
    }

    /** An artifact's recorded answers are probabilities, of Keras' classes, and whole where it gives bytes. */
    private void checkRecorded(Manifest.Artifact artifact) throws IOException {
        if (artifact.answers == null) return;
        Npy answers = array(artifact.answers, keras.row);
        int same = 0, far = 0;
        boolean shares = true, bytes = true;
        for (Manifest.Golden one : manifest.golden) {
            float[] answer = answers.floats(one.row), wanted = keras.floats(one.row);
            double sum = 0;
            for (float share : answer) {
                sum += share;
                int step = Answers.quantize(share, 1 / 256f, -128, -128, 127); // softmax in int8 is always so
                bytes &= share == 1 || Answers.dequantize(step, 1 / 256f, -128) == share;
            }
            shares &= Math.abs(sum - 1) < 0.01 * answer.length;
            int best = Answers.top(answer, 1)[0], right = Answers.top(wanted, 1)[0];
            if (best == right) same++;
            else if (wanted[right] - wanted[best] > SURE) far++;
        }
        check(shares && far == 0, artifact.path + ": recorded answers" + (bytes ? ", in bytes," : "") + " have"
                + " Keras' class in " + same + " of " + manifest.golden.size() + ", a far one in " + far);
    }

    private void checkModel(Model model) throws IOException {
        Manifest.Artifact artifact = manifest.best();
        if (model == null || artifact.answers == null) {
            say.accept("not checked: " + artifact.path + " itself, which only a phone runs");
            return;
        }
        Npy answers = array(artifact.answers, keras.row);
        double worst = 0;
        int same = 0;
        for (Manifest.Golden one : manifest.golden) {
            float[] found = model.run(pixels.bytes(one.row)), wanted = answers.floats(one.row);
            for (int at = 0; at < wanted.length; at++) worst = Math.max(worst, Math.abs(found[at] - wanted[at]));
            if (Arrays.equals(Answers.top(found, 1), Answers.top(keras.floats(one.row), 1))) same++;
        }
        check(worst <= artifact.tolerance, artifact.path + ": answers within " + worst + " of those recorded, Keras' "
                + "class in " + same + " of " + manifest.golden.size());
    }

    private Npy array(String path, int row) throws IOException {
        Npy made = new Npy(files.read(path), path);
        if (made.row != row || made.rows != manifest.golden.size())
            throw new IOException(path + ": is not of " + manifest.golden.size() + " photos as the manifest has them");
        return made;
    }

    private void check(boolean right, String what) {
        failed |= !right;
        say.accept((right ? "ok: " : "WRONG: ") + what);
    }
}
