package tledge.app;

import static android.view.ViewGroup.LayoutParams.MATCH_PARENT;
import static android.view.ViewGroup.LayoutParams.WRAP_CONTENT;

import android.Manifest.permission;
import android.graphics.Bitmap;
import android.graphics.BitmapFactory;
import android.graphics.Color;
import android.net.Uri;
import android.os.Bundle;
import android.view.Gravity;
import android.view.Menu;
import android.widget.FrameLayout;
import android.widget.ScrollView;
import android.widget.TextView;
import androidx.activity.ComponentActivity;
import androidx.activity.result.ActivityResultLauncher;
import androidx.activity.result.contract.ActivityResultContracts;
import androidx.camera.core.ImageProxy;
import androidx.camera.view.CameraController;
import androidx.camera.view.LifecycleCameraController;
import androidx.camera.view.PreviewView;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import tledge.core.Answers;
import tledge.core.Depth;
import tledge.core.Exif;
import tledge.core.Manifest;
import tledge.core.Picture;
import tledge.core.SelfTest;

/** The camera's picture with what the model sees in it, a photo by choice, and the self-test. */
public final class MainActivity extends ComponentActivity {
    private static final int TOP = 3;

    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private ActivityResultLauncher<String> photo, camera;
    private LifecycleCameraController controller;
    private TextView text;
    private Manifest manifest;
    private LiteRt model;

    @Override
    protected void onCreate(Bundle saved) {
        super.onCreate(saved);
        photo = registerForActivityResult(new ActivityResultContracts.GetContent(), uri -> onWorker(() -> see(uri)));
        camera = registerForActivityResult(new ActivityResultContracts.RequestPermission(), this::watch);
        controller = new LifecycleCameraController(this);
        controller.setEnabledUseCases(CameraController.IMAGE_ANALYSIS);
        controller.setImageAnalysisAnalyzer(worker, frame -> show(() -> see(frame)));
        layOut();
        onWorker(this::open);
        camera.launch(permission.CAMERA);
    }

    private void layOut() {
        PreviewView preview = new PreviewView(this);
        preview.setScaleType(PreviewView.ScaleType.FIT_CENTER); // all that the model sees
        preview.setController(controller);
        text = new TextView(this);
        text.setTextSize(18);
        text.setTextColor(Color.WHITE);
        text.setBackgroundColor(0xa0000000);
        ScrollView below = new ScrollView(this);
        below.addView(text);
        FrameLayout all = new FrameLayout(this);
        all.addView(preview);
        all.addView(below, new FrameLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT, Gravity.BOTTOM));
        setContentView(all);
    }

    @Override
    public boolean onCreateOptionsMenu(Menu menu) {
        add(menu, "Photo", () -> photo.launch("image/*"));
        add(menu, "Camera", () -> camera.launch(permission.CAMERA));
        add(menu, "Self-test", () -> onWorker(this::selfTest));
        return true;
    }

    private void add(Menu menu, String title, Runnable action) {
        menu.add(title).setOnMenuItemClickListener(item -> {
            watch(false);
            action.run();
            return true;
        });
    }

    /** Starts the camera where it is allowed, else stops it. */
    private void watch(boolean allowed) {
        controller.unbind();
        if (allowed) controller.bindToLifecycle(this);
    }

    private String open() throws IOException {
        manifest = Manifest.parse(asset("manifest.json"));
        model = new LiteRt(asset(manifest.best().path));
        return manifest.name;
    }

    private String see(ImageProxy frame) throws IOException {
        try (frame) {
            int degrees = frame.getImageInfo().getRotationDegrees();
            return answer(picture(frame.toBitmap(), degrees == 90 ? 6 : degrees == 180 ? 3 : degrees == 270 ? 8 : 1));
        }
    }

    private String see(Uri uri) throws IOException {
        if (uri == null) return "no photo";
        try (InputStream in = getContentResolver().openInputStream(uri)) {
            byte[] photo = all(in);
            Depth.requireKnown(photo, manifest);
            return answer(decode(photo));
        }
    }

    private String selfTest() {
        StringBuilder lines = new StringBuilder(); // the verdict, which comes last, on top
        SelfTest.run(this::asset, MainActivity::decode, model, 1, line -> lines.insert(0, line + "\n"));
        return lines.toString();
    }

    private String answer(Picture picture) throws IOException {
        if (model == null) throw new IOException("the model did not load");
        float[] shares = model.run(picture.prepare(manifest.height, manifest.width));
        double[] sure = Answers.confidence(shares, manifest.temperature);
        int[] best = Answers.top(shares, TOP);
        StringBuilder lines = new StringBuilder(sure[best[0]] < manifest.threshold ? "unsure\n" : "");
        for (int one : best) { // never 100 % where it is less
            double share = sure[one] < 1 ? Math.min(sure[one], 0.999) : 1;
            lines.append(String.format("%5.1f %%  %s%n", 100 * share, manifest.labels.get(one)));
        }
        return lines.toString();
    }

    private static Picture decode(byte[] photo) throws IOException {
        BitmapFactory.Options options = new BitmapFactory.Options();
        options.inPremultiplied = false;
        Bitmap bitmap = BitmapFactory.decodeByteArray(photo, 0, photo.length, options);
        if (bitmap == null) throw new IOException("not a photo that Android reads");
        if (Depth.isDeep(photo)) { // Android may decode it deeper than 8 bits, and then refuses to hand it out
            if (bitmap.getConfig() != Bitmap.Config.ARGB_8888) bitmap = bitmap.copy(Bitmap.Config.ARGB_8888, false);
            Depth.requireBright(photo, rgba(bitmap));
        }
        return picture(bitmap, Exif.orientation(photo));
    }

    /** Takes the bytes as they are stored: getPixels() would convert colour profiles, which training does not. */
    private static Picture picture(Bitmap bitmap, int orientation) throws IOException {
        if (bitmap.getConfig() != Bitmap.Config.ARGB_8888) throw new IOException("decoded as " + bitmap.getConfig());
        return new Picture(rgba(bitmap), bitmap.getWidth(), bitmap.getHeight(), bitmap.getRowBytes(), orientation);
    }

    private static byte[] rgba(Bitmap bitmap) {
        ByteBuffer rgba = ByteBuffer.allocate(bitmap.getByteCount());
        bitmap.copyPixelsToBuffer(rgba);
        return rgba.array();
    }

    private byte[] asset(String path) throws IOException {
        try (InputStream in = getAssets().open(path)) {
            return all(in);
        }
    }

    private static byte[] all(InputStream in) throws IOException {
        if (in == null) throw new FileNotFoundException("the photo is gone");
        ByteArrayOutputStream made = new ByteArrayOutputStream();
        byte[] part = new byte[1 << 16];
        for (int count = in.read(part); count >= 0; count = in.read(part)) made.write(part, 0, count);
        return made.toByteArray();
    }

    private void onWorker(Callable<String> job) {
        worker.execute(() -> show(job));
    }

    /** Shows what a job gives, or why it failed. */
    private void show(Callable<String> job) {
        String said;
        try {
            said = job.call();
        } catch (Exception | OutOfMemoryError wrong) {
            said = wrong.toString();
        }
        String shown = said;
        runOnUiThread(() -> text.setText(shown));
    }

    @Override
    protected void onDestroy() {
        super.onDestroy();
        worker.shutdown();
    }
}
