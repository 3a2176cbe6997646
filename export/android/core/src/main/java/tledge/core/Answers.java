package tledge.core;

/** What a model's output means: probabilities, the best classes and how sure they are. */
public final class Answers {
    private static final double TINY = 1.17549435e-38; // what a probability of zero counts as

    private Answers() {}

    /** The real value of an integer output: scale * (value - zero point). */
    public static float dequantize(int value, float scale, int zeroPoint) {
        return scale * (value - zeroPoint);
    }

    /** The integer for a real value, ties to even, kept within low..high. */
    public static int quantize(float value, float scale, int zeroPoint, int low, int high) {
        return (int) Math.max(low, Math.min(high, Math.rint(value / scale) + zeroPoint));
    }

    /** Indices of the `k` most probable classes, best first; ties by label order. */
    public static int[] top(float[] probabilities, int k) {
        int[] best = new int[Math.min(k, probabilities.length)];
        boolean[] taken = new boolean[probabilities.length];
        for (int place = 0; place < best.length; place++) {
            int found = -1;
            for (int one = 0; one < probabilities.length; one++)
                if (!taken[one] && (found < 0 || probabilities[one] > probabilities[found])) found = one;
            taken[best[place] = found] = true;
        }
        return best;
    }

    /** How sure each class is: p^(1 / temperature), divided by the sum of these. */
    public static double[] confidence(float[] probabilities, double temperature) {
        double[] made = new double[probabilities.length];
        double most = Math.max(probabilities[top(probabilities, 1)[0]], TINY), sum = 0;
        for (int one = 0; one < made.length; one++)
            sum += made[one] = Math.pow(Math.max(probabilities[one], TINY) / most, 1 / temperature);
        for (int one = 0; one < made.length; one++) made[one] /= sum;
        return made;
    }
}
