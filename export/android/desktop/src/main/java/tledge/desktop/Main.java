package tledge.desktop;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import javax.imageio.ImageIO;
import tledge.core.Depth;
import tledge.core.Exif;
import tledge.core.Picture;
import tledge.core.SelfTest;

/** The app's self-test on a computer, with Java's own photo decoder; models do not run here. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        if (arguments.length != 2 || !arguments[0].equals("--self-test")) {
            System.err.println("usage: java -cp build tledge.desktop.Main --self-test BUNDLE");
            System.exit(2);
        }
        Path bundle = Paths.get(arguments[1]);
        System.setProperty("java.awt.headless", "true");
        ImageIO.setUseCache(false);
        System.exit(SelfTest.run(path -> read(bundle.resolve(path)), Main::decode, null, 1, System.out::println));
    }

    /** A photo as stored, upright by its EXIF orientation; throws IOException for what Java does not read. */
    public static Picture decode(byte[] photo) throws IOException {
        BufferedImage image = ImageIO.read(new ByteArrayInputStream(photo));
        if (image == null) throw new IOException("not a photo that Java reads");
        int width = image.getWidth(), height = image.getHeight();
        byte[] rgba = new byte[4 * width * height];
        for (int y = 0, at = 0; y < height; y++)
            for (int x = 0; x < width; x++, at += 4) put(image, x, y, rgba, at);
        Depth.requireBright(photo, rgba);
        return new Picture(rgba, width, height, 4 * width, Exif.orientation(photo));
    }

    /** getRGB() would make grey lighter and convert colour profiles, which Pillow leaves as they are. */
    private static void put(BufferedImage image, int x, int y, byte[] rgba, int at) {
        Raster raster = image.getRaster();
        int bands = raster.getNumBands();
        boolean palette = image.getColorModel() instanceof IndexColorModel;
        int color = palette ? image.getRGB(x, y) : 0, deeper = raster.getSampleModel().getSampleSize(0) == 16 ? 8 : 0;
        for (int one = 0; one < 3; one++) {
            int sample = palette ? color >> 16 - 8 * one : raster.getSample(x, y, bands < 3 ? 0 : one) >> deeper;
            rgba[at + one] = (byte) sample;
        }
        boolean opaque = bands % 2 == 1 && !palette;
        rgba[at + 3] = (byte) (opaque ? 255 : palette ? color >>> 24 : raster.getSample(x, y, bands - 1) >> deeper);
    }

    private static byte[] read(Path path) throws IOException {
        if (!Files.isRegularFile(path)) throw new IOException(path + " is missing");
        return Files.readAllBytes(path);
    }
}
