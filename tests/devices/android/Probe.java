import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.stream.Collectors;
import tledge.core.Answers;
import tledge.desktop.Main;

/** Lets tests look at single steps; each argument asks for one of them. */
final class Probe {
    public static void main(String[] asked) throws IOException {
        for (String one : asked) {
            String[] words = one.split(" ", 4);
            if (words[0].equals("prepare")) {
                byte[] photo = Files.readAllBytes(Paths.get(words[3]));
                System.out.write(Main.decode(photo).prepare(Integer.parseInt(words[1]), Integer.parseInt(words[2])));
            } else if (words[0].equals("answer")) {
                System.out.println(answer(Double.parseDouble(words[1]), words[3].split(" ")));
            } else {
                float scale = Float.parseFloat(words[1]);
                int zero = Integer.parseInt(words[2]);
                int step = Answers.quantize(Float.parseFloat(words[3]), scale, zero, -128, 127);
                System.out.println(step + " " + Answers.dequantize(step, scale, zero));
            }
        }
        System.out.flush();
    }

    private static String answer(double temperature, String[] given) {
        float[] shares = new float[given.length];
        for (int at = 0; at < shares.length; at++) shares[at] = Float.parseFloat(given[at]);
        String order = Arrays.stream(Answers.top(shares, 3)).mapToObj(String::valueOf).collect(Collectors.joining(" "));
        String sure = Arrays.stream(Answers.confidence(shares, temperature)).mapToObj(String::valueOf)
                .collect(Collectors.joining(" "));
        return order + ";" + sure;
    }
}
